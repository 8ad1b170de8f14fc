// The types that Grafana has for a dashboard and for the panels that ours is made of. monitoring.py
// has the compiler check the dashboard against Keyferry: a member that Grafana does not know, one
// that it needs and does not find, and a value that it does not take are errors.

import type * as dashboard from "@grafana/grafana-foundation-sdk/dashboard";
import type * as prometheus from "@grafana/grafana-foundation-sdk/prometheus";
import type * as stat from "@grafana/grafana-foundation-sdk/stat";
import type * as table from "@grafana/grafana-foundation-sdk/table";
import type * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";

// A type as JSON has it: the texts of an enumeration in the place of its names.
type Json<T> = 0 extends 1 & T
  ? T
  : T extends string
    ? `${T}`
    : T extends (infer Item)[]
      ? Json<Item>[]
      : T extends object
        ? { [Member in keyof T]: Json<T[Member]> }
        : T;

type Query = Omit<Json<prometheus.Dataquery>, "_implementsDataqueryVariant">;

type FieldConfig<Custom> = Omit<Json<dashboard.FieldConfig>, "custom"> & { custom?: Json<Custom> };

type Panel<Type, Options, Custom> = Omit<
  Json<dashboard.Panel>,
  "type" | "targets" | "options" | "fieldConfig"
> & {
  type: Type;
  targets: Query[];
  options: Json<Options>;
  fieldConfig: {
    defaults: FieldConfig<Custom>;
    overrides: Json<dashboard.FieldConfigSource["overrides"]>;
  };
};

type AnyPanel =
  | Json<dashboard.RowPanel>
  | Panel<"stat", stat.Options, never>
  | Panel<"table", table.Options, Partial<table.FieldConfig>>
  | Panel<"timeseries", timeseries.Options, timeseries.FieldConfig>;

export type Keyferry = Omit<Json<dashboard.Dashboard>, "panels"> & { panels: AnyPanel[] };
