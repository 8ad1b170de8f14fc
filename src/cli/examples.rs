//! The examples that end the help of each command; a test reads them as the command line does.

pub(super) const KEYFERRY: &str = "\
Examples:
  keyferry serve
  keyferry connection create --integration shop --type bearer_token --name example \\
      --allowed-domain api.example.com
  keyferry run --integration shop -- curl https://api.example.com/v1

Exit codes: 0 done, 1 failed, 2 wrong usage. keyferry help COMMAND says more of a command.";

pub(super) const SERVE: &str = "\
Examples:
  keyferry serve
  keyferry serve --config /etc/keyferry.toml --data-dir /var/lib/keyferry
  KEYFERRY_PROXY__PLAIN_HTTP=upgrade keyferry serve";

pub(super) const CHECK: &str = "\
Examples:
  keyferry check --config keyferry.toml
  keyferry check --output json";

pub(super) const HEALTH: &str = "\
Examples:
  keyferry health
  keyferry health --url http://127.0.0.1:8081 --output json";

pub(super) const EXPLAIN: &str = "\
Examples:
  keyferry explain --integration shop GET https://api.example.com/v1
  keyferry explain --connection example POST https://api.example.com/v1/orders --output json
  keyferry explain --offline --config keyferry.toml GET https://api.example.com/v1";

pub(super) const RUN: &str = "\
Examples:
  keyferry run -- curl https://api.example.com/v1
  keyferry run --integration shop --connection example -- python3 report.py
  keyferry run --url https://keyferry.example.com --caller-token-file runner.token -- npm test

The exit code is the program's own; 127 when there is no such program, 126 when it can't be run.";

pub(super) const CONNECTION: &str = "\
Examples:
  keyferry connection list --integration shop
  keyferry connection show example --integration shop";

pub(super) const CONNECTION_CREATE: &str = "\
Examples:
  keyferry connection create --type bearer_token --name example --allowed-domain api.example.com
  keyferry connection create --type api_key --name search --allowed-domain '*.example.com' \\
      --header-name X-Api-Key --secret-file search.key
  printenv PASSWORD | keyferry connection create --type basic_auth --name legacy \\
      --allowed-domain legacy.example.com --username shop --secret-stdin
  keyferry connection create --preset openai --name openai
  keyferry connection create --preset shopify --name shop --allowed-domain acme.myshopify.com
  keyferry connection create --type oauth --client crm --name crm --allowed-domain api.example.com
  keyferry connection create --type oauth --provider zendesk --set subdomain=acme \\
      --client-id my_client --name support
  keyferry connection create --type oauth --mcp https://mcp.example.com/mcp --name tools

Without --allowed-domain, a connection by OAuth has the first domain that its client offers. The
secret is asked for on the terminal unless an option names another source.";

pub(super) const CONNECTION_LIST: &str = "\
Examples:
  keyferry connection list --integration shop
  keyferry connection list --attention
  keyferry connection list --output json";

pub(super) const CONNECTION_SHOW: &str = "\
Examples:
  keyferry connection show example
  keyferry connection show crm --type oauth --output json";

pub(super) const CONNECTION_UPDATE: &str = "\
Examples:
  keyferry connection update example
  keyferry connection update example --secret-file new.key
  keyferry connection update crm --allowed-domain api.example.com

Without another change it replaces the secret. A connection's name, type and allowed domain never
change; a connection by OAuth that has no domain yet is given one.";

pub(super) const CONNECTION_REFRESH: &str = "\
Examples:
  keyferry connection refresh crm";

pub(super) const CONNECTION_DELETE: &str = "\
Examples:
  keyferry connection delete example
  keyferry connection rm example --yes";

pub(super) const CLIENT: &str = "\
Examples:
  keyferry client list --integration shop
  keyferry client show crm --integration shop";

pub(super) const PROVIDER: &str = "\
Examples:
  keyferry provider list --search google
  keyferry provider show zendesk";

pub(super) const PROVIDER_LIST: &str = "\
Examples:
  keyferry provider list
  keyferry provider list --search 'google calendar'
  keyferry provider list --output json";

pub(super) const PROVIDER_SHOW: &str = "\
Examples:
  keyferry provider show zendesk
  keyferry provider show zendesk --output json";

pub(super) const CLIENT_CREATE: &str = "\
Examples:
  keyferry client create --name crm --provider zendesk --set subdomain=acme --client-id 1a2b
  keyferry client create --name crm --client-id 1a2b --scopes 'read write' \\
      --token-url https://id.example.com/token --auth-url https://id.example.com/authorize
  keyferry client create --name batch --client-id 3c4d --grant-type client_credentials \\
      --token-url https://id.example.com/token --secret-file batch.secret
  keyferry client create --name robot --grant-type jwt_bearer --secret-file service-account.json \\
      --scopes https://www.googleapis.com/auth/drive.readonly
  keyferry client create --name app --grant-type github_app --client-id Iv23abc \\
      --installation 12345678 --permission contents=read --secret-file app.private-key.pem
  keyferry client create --name shop --client-id 5e6f --profile shop.toml --pkce off

Options win over the file of --profile, and both over the provider's entry. The secret is asked for on the terminal unless an option names another source.";

pub(super) const CLIENT_LIST: &str = "\
Examples:
  keyferry client list --integration shop
  keyferry client list --output json";

pub(super) const CLIENT_SHOW: &str = "\
Examples:
  keyferry client show crm";

pub(super) const CLIENT_UPDATE: &str = "\
Examples:
  keyferry client update crm
  keyferry client update crm --scopes 'read write'
  keyferry client update crm --token-url https://id2.example.com/token --secret-file crm.secret
  keyferry client update robot --assertion sub=user@example.com --secret-file service-account.json
  keyferry client update crm --default-lifetime 30m --unset pkce

Without another change it replaces the secret. A client's name and grant type never change.";

pub(super) const CLIENT_DELETE: &str = "\
Examples:
  keyferry client delete crm
  keyferry client rm crm --yes";

pub(super) const TOKEN: &str = "\
Examples:
  keyferry token create --integration shop --name runner --scope proxy
  keyferry token list";

pub(super) const TOKEN_CREATE: &str = "\
Examples:
  keyferry token create --integration shop --name runner --scope proxy > runner.token
  keyferry token create --integration shop --name ci --scope read,write --connection example
  keyferry token create --integration '*' --name ops --scope admin --expires-at 2030-01-31T12:00:00Z";

pub(super) const TOKEN_LIST: &str = "\
Examples:
  keyferry token list
  keyferry token list --search runner --sort=-last_used_at
  keyferry token list --integration shop --output json";

pub(super) const TOKEN_REVOKE: &str = "\
Examples:
  keyferry token revoke runner
  keyferry token revoke ac10a230-0c43-45f8-b221-9e085ce90418 --yes";

pub(super) const TOKEN_GENERATE: &str = "\
Examples:
  keyferry token generate > runner.token";

pub(super) const CA: &str = "\
Examples:
  keyferry ca export > keyferry-ca.pem
  keyferry ca rotate --overlap 14d";

pub(super) const CA_EXPORT: &str = "\
Examples:
  keyferry ca export > keyferry-ca.pem";

pub(super) const CA_ROTATE: &str = "\
Examples:
  keyferry ca rotate
  keyferry ca rotate --overlap 14d";

pub(super) const REQUESTS: &str = "\
Examples:
  keyferry requests
  keyferry requests --since 2h --connection crm --status 5xx
  keyferry requests --code DomainNotAllowed --follow
  keyferry requests --caller ci --path /v1/charges --output json
  keyferry requests show 1f45d091-7";

pub(super) const REQUESTS_SHOW: &str = "\
Examples:
  keyferry requests show 1f45d091-7
  keyferry requests --connection crm show --last
  keyferry requests show 1f45d091-7 --output json";

pub(super) const REQUESTS_CALLERS: &str = "\
Examples:
  keyferry requests callers
  keyferry requests --integration shop --connection crm --since 7d callers";

pub(super) const AUDIT: &str = "\
Examples:
  keyferry audit
  keyferry audit --since 2h --kind connection --follow
  keyferry audit --connection crm --output json
  keyferry audit verify";

pub(super) const AUDIT_VERIFY: &str = "\
Examples:
  keyferry audit verify
  keyferry audit verify --output json";

pub(super) const KEY: &str = "\
Examples:
  keyferry key list
  keyferry key rotate";

pub(super) const KEY_LIST: &str = "\
Examples:
  keyferry key list
  keyferry key list --output json";

pub(super) const KEY_ROTATE: &str = "\
Examples:
  keyferry key rotate

Put the new key on the first line of the key file before; keep the old one below it.";

pub(super) const BACKUP: &str = "\
Examples:
  keyferry backup keyferry.backup
  keyferry backup --data-dir /var/lib/keyferry /mnt/backup/keyferry.backup";

pub(super) const RESTORE: &str = "\
Examples:
  keyferry restore keyferry.backup --data-dir /var/lib/keyferry";

pub(super) const CONFIG: &str = "\
Examples:
  keyferry config schema > keyferry.schema.json";

pub(super) const CONFIG_SCHEMA: &str = "\
Examples:
  keyferry config schema > keyferry.schema.json

With #:schema ./keyferry.schema.json as its first line, editors complete and check a configuration
file: VS Code by Even Better TOML, others by taplo.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  keyferry completions bash > ~/.local/share/bash-completion/completions/keyferry
  keyferry completions zsh > ~/.zfunc/_keyferry
  keyferry completions fish > ~/.config/fish/completions/keyferry.fish";

pub(super) const MAN: &str = "\
Examples:
  keyferry man ~/.local/share/man/man1";
