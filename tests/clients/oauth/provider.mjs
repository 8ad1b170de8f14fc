// A certified OpenID provider on loopback, over TLS. `provider.mjs CONFIG CERT KEY` reads
//
//   { "host": …, "callback": …, "clients": [{ "id", "secret", "method", "grants", "lifetime" }] }
//
// where a client may have further metadata in "more", and "lax": it need send no code challenge.
// "resource" is a URL for which tokens may be asked, by clients that register themselves too. It
// says on standard output where it is; then a line for each token it issues, and for each
// refresh token that is spent, refused or revoked. Its own forms ask users to log in and consent.
// A refresh token is good once: shown again, it ends the whole grant.

import { readFileSync } from "node:fs";
import { createServer } from "node:https";

import Provider, { errors } from "oidc-provider";

const [config, cert, key] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const { host, callback, clients, resource } = JSON.parse(config);
const lifetimes = Object.fromEntries(clients.map(({ id, lifetime }) => [id, lifetime]));
const lax = clients.filter((client) => client.lax).map(({ id }) => id);

/** For a resource tokens are asked in its own name (RFC 8707); its tools are its only scope. */
const resourceIndicators = {
  enabled: Boolean(resource),
  useGrantedResource: () => true,
  getResourceServerInfo(_context, indicator) {
    if (indicator !== resource) throw new errors.InvalidTarget();
    return {
      scope: "tools", audience: indicator, accessTokenFormat: "opaque", accessTokenTTL: 3,
    };
  },
};

const server = createServer({ cert, key });
server.listen(0, "127.0.0.1", () => {
  const issuer = `https://${host}:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: clients.map(({ id, secret, method, grants, more }) => ({
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      grant_types: grants,
      redirect_uris: grants.includes("authorization_code") ? [callback] : [],
      response_types: grants.includes("authorization_code") ? ["code"] : [],
      scope: "openid offline_access read write api",
      ...more,
    })),
    scopes: ["openid", "offline_access", "read", "write", "api", "email", "groups"],
    features: {
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      registration: { enabled: Boolean(resource) },
      resourceIndicators,
      revocation: { enabled: true },
    },
    // Who they are stands in the ID token, as many can be told to have it.
    conformIdTokenClaims: false,
    claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
    findAccount: (_context, sub) => ({
      accountId: sub,
      claims: () => ({
        sub, email: `${sub}@example.test`, email_verified: true, groups: ["staff", "operators"],
      }),
    }),
    pkce: { required: (_context, client) => !lax.includes(client.clientId) },
    rotateRefreshToken: true,
    // Like many, it gives a refresh token to whoever may use one, asked for or not.
    issueRefreshToken: (_context, client) => client.grantTypeAllowed("refresh_token"),
    expiresWithSession: () => false,
    ttl: {
      AccessToken: (_context, token, client) =>
        token.resourceServer?.accessTokenTTL ?? lifetimes[client.clientId],
      ClientCredentials: (_context, _token, client) => lifetimes[client.clientId],
      Grant: 3600, IdToken: 600, Interaction: 600, RefreshToken: 3600, Session: 3600,
    },
  });
  const say = (event) => console.log(`event ${event}`);
  provider.on("access_token.issued", () => say("issued"));
  provider.on("client_credentials.issued", () => say("issued"));
  provider.on("refresh_token.consumed", () => say("spent"));
  provider.on("grant.revoked", () => say("revoked"));
  provider.on("grant.error", (_context, error) => say(`refused ${error.message}`));
  provider.on("server_error", (_context, error) => say(`broken ${error.stack}`));
  server.on("request", provider.callback());
  console.log(`issuer ${issuer}`);
});
