//! Faulty configurations, and what an operator reads about each.

/// A file, and what is said of it.
pub(super) const FAULTS: &[(&str, &str)] = &[
    (
        "[proxy]\nplain_htp = \"upgrade\"",
        "c.toml:2:1: proxy.plain_htp: unknown key; did you mean plain_http?",
    ),
    ("colour = 1", "c.toml:1:1: colour: unknown key"),
    ("[proxi]\nlisten = 1", "c.toml:1:2: proxi: unknown key; did you mean proxy?"),
    ("data_dir = 1", "c.toml:1:1: data_dir: must be a string, not a whole number"),
    ("data_dir = \"\"", "c.toml:1:1: data_dir: must not be empty"),
    ("proxy = 1", "c.toml:1:1: proxy: must be a table, not a whole number"),
    ("[proxy]\nlisten = \"127.0.0.1:1\"", "c.toml:2:1: proxy.listen: must be a list, not a string"),
    ("[proxy]\nlisten = []", "c.toml:2:1: proxy.listen: must not be empty"),
    (
        "[proxy]\nlisten = [\n  \"127.0.0.1:1\",\n  \"localhost:1\"]",
        "c.toml:4:3: proxy.listen[1]: must be an address and port such as \"127.0.0.1:8080\", or \"unix:PATH\"",
    ),
    (
        "[proxy]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
        "c.toml:2:26: proxy.listen[1]: 127.0.0.1:1 is already proxy.listen[0], at c.toml:2:11",
    ),
    (
        "[proxy]\nlisten = [\"127.0.0.1:1\"]\n[api]\nlisten = \"127.0.0.1:1\"",
        "c.toml:2:11: proxy.listen[0]: 127.0.0.1:1 is already api.listen, at c.toml:4:1",
    ),
    (
        "[proxy]\nlisten = [\"127.0.0.1:8081\"]",
        "c.toml:2:11: proxy.listen[0]: 127.0.0.1:8081 is already api.listen, at default",
    ),
    (
        "[proxy]\nsocket_mode = \"rw\"",
        "c.toml:2:1: proxy.socket_mode: must be permission bits in octal such as \"0600\"",
    ),
    (
        "[proxy]\ncaller_auth = \"no\"",
        "c.toml:2:1: proxy.caller_auth: must be \"token\" or \"none\"",
    ),
    (
        "[proxy]\ncaller_auth = \"none\"\ndefault_integration = \"\"",
        "c.toml:2:1: proxy.caller_auth: \"none\" needs proxy.default_integration to be set",
    ),
    (
        "[proxy]\ncaller_auth = \"none\"\ndefault_integration = \"acme\"\nuntagged = \"tunnel\"",
        "c.toml:4:1: proxy.untagged: \"tunnel\" needs proxy.caller_auth = \"token\"",
    ),
    (
        "[proxy]\ncaller_auth = \"none\"\ndefault_integration = \"A\"",
        "c.toml:3:1: proxy.default_integration: an integration's name is 1 to 64 characters out of a-z 0-9 _ -",
    ),
    (
        "[proxy]\ncaller_auth = \"none\"",
        "c.toml:2:1: proxy.caller_auth: \"none\" needs proxy.default_integration to be set",
    ),
    (
        "[proxy]\ncaller_auth = \"none\"\ndefault_integration = \"a\"\nlisten = [\"0.0.0.0:1\"]",
        "c.toml:2:1: proxy.caller_auth: \"none\" needs every proxy.listen to be a loopback address or a unix socket, and 0.0.0.0:1 is neither",
    ),
    (
        "[proxy]\ndefault_integration = \"A\"",
        "c.toml:2:1: proxy.default_integration: an integration's name is 1 to 64 characters out of a-z 0-9 _ -",
    ),
    (
        "[proxy]\nallowed_hosts = [\"a:1\"]",
        "c.toml:2:18: proxy.allowed_hosts[0]: must be a host name or an address, without scheme and port",
    ),
    (
        "[proxy]\nallowed_ports = [0]",
        "c.toml:2:18: proxy.allowed_ports[0]: must be a whole number from 1 to 65535",
    ),
    (
        "[proxy]\nallowed_ports = [99999]",
        "c.toml:2:18: proxy.allowed_ports[0]: must be a whole number from 1 to 65535",
    ),
    ("[proxy]\nallowed_ports = []", "c.toml:2:1: proxy.allowed_ports: must not be empty"),
    (
        "[proxy]\nallowed_methods = [\"Trace\"]",
        "c.toml:2:20: proxy.allowed_methods[0]: CONNECT, TRACE, TRACK and DEBUG never reach an origin",
    ),
    (
        "[proxy]\nallowed_methods = [\"A B\"]",
        "c.toml:2:20: proxy.allowed_methods[0]: is not an HTTP method",
    ),
    (
        "[proxy]\nmax_connections = 0",
        "c.toml:2:1: proxy.max_connections: must be a whole number from 1 to 10000000",
    ),
    (
        "[proxy]\nmax_head_bytes = 100",
        "c.toml:2:1: proxy.max_head_bytes: must be a whole number from 8192 to 16777216",
    ),
    (
        "[proxy]\nmax_body_bytes = -1",
        "c.toml:2:1: proxy.max_body_bytes: must be a whole number from 0 to 9223372036854775807",
    ),
    (
        "[proxy]\nmax_body_bytes = 99999999999999999999",
        "c.toml:2:1: proxy.max_body_bytes: must be a whole number, not a number beyond 64 bits",
    ),
    (
        "[proxy]\nmax_connections = 10\nmax_connections_per_caller = 11",
        "c.toml:3:1: proxy.max_connections_per_caller: must be proxy.max_connections, which is 10, or less",
    ),
    (
        "[proxy]\nmax_connections = 1.5",
        "c.toml:2:1: proxy.max_connections: must be a whole number, not a fraction",
    ),
    (
        "[proxy]\nidle_timeout = 60",
        "c.toml:2:1: proxy.idle_timeout: must be a duration such as \"500ms\", \"5s\", \"10m\" or \"7d\", not a whole number",
    ),
    (
        "[proxy]\nidle_timeout = \"60\"",
        "c.toml:2:1: proxy.idle_timeout: must be a duration such as \"500ms\", \"5s\", \"10m\" or \"7d\"",
    ),
    ("[proxy]\nhead_timeout = \"0s\"", "c.toml:2:1: proxy.head_timeout: must be longer than zero"),
    ("[audit]\nretention = \"999y\"", "c.toml:2:1: audit.retention: must be at most \"36500d\""),
    (
        "[audit]\nmax_bytes = 1000000000",
        "c.toml:2:1: audit.max_bytes: must be a number of bytes with its unit such as \"64MiB\" or \"1GiB\", not a whole number",
    ),
    (
        "[audit]\nmax_bytes = \"1GiB a day\"",
        "c.toml:2:1: audit.max_bytes: must be a number of bytes with its unit such as \"64MiB\" or \"1GiB\"",
    ),
    (
        "[audit]\nmax_bytes = \"1MiB\"",
        "c.toml:2:1: audit.max_bytes: must be from \"16.0 MiB\" to \"100.0 TiB\"",
    ),
    ("[proxy]\ntls = { cert = \"a.pem\" }", "c.toml:2:1: proxy.tls.key: is missing"),
    (
        "[api]\ntls = { cert = \"a.pem\", key = \"a.key\" }",
        "c.toml:2:1: api.tls: the file a.pem can't be read: No such file or directory (os error 2)",
    ),
    (
        "[upstream]\nhttp2 = \"yes\"",
        "c.toml:2:1: upstream.http2: must be true or false, not a string",
    ),
    (
        "[upstream]\nallow_networks = [\"10/8\"]",
        "c.toml:2:19: upstream.allow_networks[0]: must be a network such as \"10.0.0.0/8\"",
    ),
    (
        "[upstream.resolve]\n\"a.test\" = \"127.0.0.1:1\"",
        "c.toml:2:1: upstream.resolve.\"a.test\": a pinned name is written with its port, such as \"api.example.test:443\"",
    ),
    (
        "[upstream.resolve]\n\"a.test:1\" = \"b.test:1\"",
        "c.toml:2:1: upstream.resolve.\"a.test:1\": must be an address and port such as \"127.0.0.1:9443\"",
    ),
    (
        "[upstream]\nextra_roots = [\"c.toml\"]",
        "c.toml:2:16: upstream.extra_roots[0]: the file c.toml has no certificate in PEM form",
    ),
    (
        "[api]\npublic_url = \"a.com\"",
        "c.toml:2:1: api.public_url: must be a URL such as \"https://keyferry.example.com\", without user or query",
    ),
    (
        "[store]\nurl = \"mysql://a\"",
        "c.toml:2:1: store.url: must be \"memory:\" or \"sqlite:FILE\" or \"postgres://…\"",
    ),
    (
        "[log]\nlevel = \"loud\"",
        "c.toml:2:1: log.level: must be off, error, warn, info, debug or trace, or a list such as \"info,keyferry=debug\"",
    ),
    ("[ca]\ncert = \"a.pem\"", "c.toml:1:2: ca: needs both cert and key, or neither"),
    (
        "[oidc]\nissuer = \"https://id.example.com\"",
        "c.toml:1:2: oidc: needs issuer, client_id and groups",
    ),
    ("[oidc]\nclient_secret = \"s\"", "c.toml:1:2: oidc: needs issuer, client_id and groups"),
    (
        "[oidc]\nissuer = \"http://id.example.com\"\nclient_id = \"k\"\n\
         groups = { a = { scopes = [\"read\"], integrations = [\"*\"] } }",
        "c.toml:2:1: oidc.issuer: must be an https:// URL without a query and a fragment",
    ),
    (
        "[oidc]\nscopes = [\"email\"]",
        "c.toml:2:1: oidc.scopes: needs \"openid\", or there is no ID token",
    ),
    (
        "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"k\"\n\
         groups = { a = { scopes = [\"read\"] } }",
        "c.toml:4:12: oidc.groups.\"a\".integrations: is missing",
    ),
    (
        "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"k\"\n\
         groups = { a = { integrations = [\"*\"], scopes = [\"proxy\"] } }",
        "c.toml:4:40: oidc.groups.\"a\".scopes: can't have proxy: the data plane takes access tokens alone",
    ),
    (
        "[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"k\"\n\
         groups = { a = { integrations = [\"*\"], scopes = [\"root\"] } }",
        "c.toml:4:50: oidc.groups.\"a\".scopes[0]: must be one or more of read, write, proxy, admin, audit",
    ),
    (
        "[store]\nurl = \"memory:\"\n[oidc]\nissuer = \"https://id.example.com\"\nclient_id = \"k\"\n\
         groups = { a = { scopes = [\"read\"], integrations = [\"*\"] } }",
        "c.toml:3:2: oidc: needs a store for the sessions: set store.url to a database",
    ),
    (
        "[oauth]\nallowed_redirect_origins = [\"https://a.com/x\"]",
        "c.toml:2:29: oauth.allowed_redirect_origins[0]: must be an origin such as \"https://app.example.com\", without a path",
    ),
    (
        "[zis]\nsubdomain = \"a.b\"",
        "c.toml:2:1: zis.subdomain: must be one label of a host name, such as \"acme\" of acme.zendesk.com",
    ),
    ("[connections]\nname = \"a\"", "c.toml:1:2: connections: must be a list, not a table"),
];

/// What stands in the declared connection, what stands there instead, and what is said of it.
pub(super) const CONNECTION_FAULTS: &[((&str, &str), &str)] = &[
    (
        ("example\"", "ex\""),
        "c.toml:4:1: connections[0].name: a connection's name is 3 to 64 characters out of A-Z a-z 0-9 _ -",
    ),
    (
        ("example\"", "zendesk\""),
        "c.toml:4:1: connections[0].name: the name zendesk is reserved for OAuth connections to Zendesk",
    ),
    (
        ("\"shop", "\"Shop"),
        "c.toml:2:1: connections[0].integration: an integration's name is 1 to 64 characters out of a-z 0-9 _ -",
    ),
    (
        ("bearer_token\"", "bearer\""),
        "c.toml:3:1: connections[0].type: must be \"api_key\" or \"aws_sigv4\" or \"basic_auth\" or \"bearer_token\" or \"custom\"",
    ),
    (
        ("bearer_token\"", "oauth\""),
        "c.toml:3:1: connections[0].type: an oauth connection is made by an authorization, not declared; must be \"api_key\" or \"aws_sigv4\" or \"basic_auth\" or \"bearer_token\" or \"custom\"",
    ),
    (
        ("api.example.com", "*.github.io"),
        "c.toml:5:1: connections[0].allowed_domain: a wildcard can't cover a public suffix such as *.com or *.github.io",
    ),
    (
        ("allowed_domain = \"api.example.com\"\n", ""),
        "c.toml:1:1: connections[0].allowed_domain: is missing",
    ),
    (
        ("{ env = \"T\" }", "{ env = \"U\" }"),
        "c.toml:6:1: connections[0].token: the environment variable U is not set",
    ),
    (
        ("{ env = \"T\" }", "{ env = \"BAD\" }"),
        "c.toml:6:1: connections[0].token: the secret can't be used: it contains a control character, which a header field can't carry",
    ),
    (
        ("{ env = \"T\" }", "{ env = \"EMPTY\" }"),
        "c.toml:6:1: connections[0].token: the secret can't be used: it is empty",
    ),
    (
        ("{ env = \"T\" }", "{ file = \"none\" }"),
        "c.toml:6:1: connections[0].token: the file none can't be read: No such file or directory (os error 2)",
    ),
    (
        ("{ env = \"T\" }", "{ file = \"two-lines\" }"),
        "c.toml:6:1: connections[0].token: the secret can't be used: it contains a control character, which a header field can't carry",
    ),
    (
        ("{ env = \"T\" }", "{ file = \"long\" }"),
        "c.toml:6:1: connections[0].token: the secret can't be used: it is longer than 8192 bytes",
    ),
    (
        ("{ env = \"T\" }", "{ }"),
        "c.toml:6:1: connections[0].token: must be { env = \"NAME\" } or { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"], ttl = \"1h\" }",
    ),
    (
        ("{ env = \"T\" }", "{ env = \"T\", file = \"none\" }"),
        "c.toml:6:1: connections[0].token: must be { env = \"NAME\" } or { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"], ttl = \"1h\" }",
    ),
    (
        ("{ env = \"T\" }", "{ evn = \"T\", env = \"T\" }"),
        "c.toml:6:11: connections[0].token.evn: unknown key; did you mean env?",
    ),
    (
        ("{ env = \"T\" }", "{ env = \"T\", ttl = \"1h\" }"),
        "c.toml:6:1: connections[0].token: must be { env = \"NAME\" } or { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARGUMENT\"], ttl = \"1h\" }",
    ),
    (
        ("{ env = \"T\" }", "{ command = [] }"),
        "c.toml:6:11: connections[0].token.command: must not be empty",
    ),
    (
        ("{ env = \"T\" }", "{ command = \"vault get\" }"),
        "c.toml:6:11: connections[0].token.command: must be a list, not a string",
    ),
    (
        ("{ env = \"T\" }", "{ command = [\"vault\"] }"),
        "c.toml:6:1: connections[0].token: the program vault can't be found, because PATH is not set: name it by its path",
    ),
    (
        ("{ env = \"T\" }", "{ command = [\"./none\"] }"),
        "c.toml:6:1: connections[0].token: the program none can't be run: No such file or directory (os error 2)",
    ),
    (
        ("{ env = \"T\" }", "{ command = [\"./long\"] }"),
        "c.toml:6:1: connections[0].token: the program long can't be run: run chmod +x on it, if it is one",
    ),
    (
        ("{ env = \"T\" }", "{ command = [\"/bin/sh\"], ttl = \"10ms\" }"),
        "c.toml:6:34: connections[0].token.ttl: must be at least \"1s\"",
    ),
    (
        ("{ env = \"T\" }", "17"),
        "c.toml:6:1: connections[0].token: must be a table, not a whole number",
    ),
    (
        ("token = {", "api_key = { env = \"T\" }\ntoken = {"),
        "c.toml:6:1: connections[0].api_key: unknown key",
    ),
];

/// The same of the declared token.
pub(super) const TOKEN_FAULTS: &[((&str, &str), &str)] = &[
    (
        ("runner", ""),
        "c.toml:2:1: tokens[0].name: a token's name is 1 to 64 characters, none of them a control character",
    ),
    (
        ("shop", "Shop"),
        "c.toml:3:1: tokens[0].integration: an integration's name is 1 to 64 characters out of a-z 0-9 _ -",
    ),
    (
        ("\"proxy\"", "\"root\""),
        "c.toml:4:11: tokens[0].scopes[0]: must be one or more of read, write, proxy, admin, audit",
    ),
    (("\"proxy\"", ""), "c.toml:4:1: tokens[0].scopes: must not be empty"),
    (
        ("\"CALLER\"", "\"SHORT\""),
        "c.toml:5:1: tokens[0].token: the secret can't be used: an access token is kf_ and 43 characters: make one with `keyferry token generate`",
    ),
    (
        ("scopes", "connections = [\"a.abc\"]\nscopes"),
        "c.toml:4:16: tokens[0].connections[0]: a connection's name is 3 to 64 characters out of A-Z a-z 0-9 _ -",
    ),
    (
        ("scopes", "connections = []\nscopes"),
        "c.toml:4:1: tokens[0].connections: must not be empty",
    ),
    (
        ("\"shop\"", "\"*\"\nconnections = [\"abc\"]"),
        "c.toml:4:16: tokens[0].connections[0]: under * a connection is written integration.name",
    ),
    (
        ("scopes", "expires_at = \"tomorrow\"\nscopes"),
        "c.toml:4:1: tokens[0].expires_at: must be a time such as 2030-01-31T12:00:00Z (RFC 3339)",
    ),
    (
        ("scopes", "expires_at = 2030-01-31\nscopes"),
        "c.toml:4:1: tokens[0].expires_at: must be a time such as 2030-01-31T12:00:00Z (RFC 3339)",
    ),
];
