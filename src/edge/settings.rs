//! The access settings of a deployment, as text.

/// Variables, secrets and bindings by name.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EdgeSettings {
    /// `ALLOW_OPEN`.
    pub allow_open: Option<String>,
    /// `AUTH_TOKEN`.
    pub auth_token: Option<String>,
    /// `ADMIN_TOKEN`.
    pub admin_token: Option<String>,
    /// `PROJECT_KEYS`.
    pub project_keys: Option<String>,
    /// Whether there is a KV namespace `PROJECTS`.
    pub has_registry: bool,
    /// `CORS_ORIGINS`.
    pub cors_origins: Option<String>,
    /// `CORS_CREDENTIALS`.
    pub cors_credentials: Option<String>,
    /// `WEBHOOK_HOSTS`.
    pub webhook_hosts: Option<String>,
    /// `ALLOW_LOCAL_WEBHOOKS`.
    pub allow_local_webhooks: Option<String>,
    /// `PUBLIC_URL`.
    pub public_url: Option<String>,
    /// The path, from slash to slash, below which an application serves streams.
    pub mount: Option<String>,
}
