//! The settings of webhooks: which URLs are allowed, and the URL that webhooks call back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::cors::may_have_sites_below;
use super::host::is_authority;
use super::settings::EdgeSettings;
use crate::protocol::names::{PROTOCOL_SEGMENT, STREAM_PREFIX};
use crate::protocol::subscription::webhook_url::{UrlRules, is_label, parse_hosts};

/// The characters that a segment of a URL may contain unescaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WebhookSettings {
    hosts: Option<Vec<String>>,
    allows_local: bool,
    public_url: Option<PublicUrl>,
    /// The path of streams in the URLs that webhooks call back, if it is not the server's own.
    mount: Option<String>,
}

/// The URL by which clients reach the server (`PUBLIC_URL`), without a slash at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum PublicUrl {
    One(String),
    /// Each project has a host of its own, which is the project's name before `.<parent>`.
    PerProject {
        scheme: &'static str,
        /// The part of the host after the project, and the path.
        parent: String,
    },
}

impl WebhookSettings {
    /// Reads `WEBHOOK_HOSTS`, `ALLOW_LOCAL_WEBHOOKS` and `PUBLIC_URL`.
    pub fn of(settings: &EdgeSettings) -> Result<WebhookSettings, String> {
        let allows_local = match settings.allow_local_webhooks.as_deref() {
            None | Some("" | "0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err("ALLOW_LOCAL_WEBHOOKS must be 1, or not set".to_owned()),
        };
        let hosts = settings.webhook_hosts.as_deref().filter(|text| !text.is_empty()).map(parse_hosts);
        let public_url = settings.public_url.as_deref().map(|url| url.trim_end_matches('/'));
        let parse = |url| {
            PublicUrl::parse(url).ok_or_else(|| {
                "PUBLIC_URL must be a URL such as https://streams.example.com or https://{project}.example.com"
                    .to_owned()
            })
        };
        let public_url = public_url.filter(|url| !url.is_empty()).map(parse).transpose()?;
        Ok(WebhookSettings { hosts, allows_local, public_url, mount: settings.mount.clone() })
    }

    /// The rules for a webhook URL in a request to `url`. A server that is only reachable from its own machine
    /// (`is_local`) allows webhooks on that machine.
    pub fn url_rules(&self, is_local: bool, url: &str) -> UrlRules {
        let public = self.public_url.as_ref().map(PublicUrl::host);
        UrlRules {
            allows_loopback: is_local || self.allows_local,
            hosts: self.hosts.clone(),
            own_hosts: std::iter::once(host_of(url)).chain(public).collect(),
        }
    }

    /// The URL of the control root for a request to `url`. It begins with the server's public URL, if that is set. A
    /// project with a host of its own is not in the path. A root that cannot be part of a host has the URL of the
    /// request.
    pub fn base(&self, url: &str, root: Option<&str>) -> String {
        let prefix = self.mount.as_deref().unwrap_or(STREAM_PREFIX);
        let origin = match &self.public_url {
            Some(PublicUrl::PerProject { scheme, parent }) => {
                if let Some(project) = root.filter(|root| is_label(root)) {
                    return format!("{scheme}{project}.{parent}{prefix}{PROTOCOL_SEGMENT}");
                }
                origin_of(url)
            }
            Some(PublicUrl::One(public)) => public,
            None => origin_of(url),
        };
        let root = root.map(|root| format!("{}/", utf8_percent_encode(root, SEGMENT))).unwrap_or_default();
        format!("{origin}{prefix}{root}{PROTOCOL_SEGMENT}")
    }
}

impl PublicUrl {
    /// Parses a URL whose host may begin with `{project}.`.
    fn parse(url: &str) -> Option<PublicUrl> {
        let scheme = ["https://", "http://"].into_iter().find(|scheme| url.starts_with(scheme))?;
        let rest = &url[scheme.len()..];
        let parent = rest.strip_prefix("{project}.");
        let plain = parent.unwrap_or(rest);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>{}".contains(&byte);
        let authority = plain.split('/').next().unwrap_or_default();
        if !plain.bytes().all(is_plain) || !is_authority(authority) {
            return None;
        }
        match parent {
            Some(parent) => may_have_sites_below(&host_of(authority))
                .then(|| PublicUrl::PerProject { scheme, parent: parent.to_owned() }),
            None => Some(PublicUrl::One(url.to_owned())),
        }
    }

    /// The hosts of the server, in the form of a rule for webhooks.
    fn host(&self) -> String {
        match self {
            PublicUrl::One(url) => host_of(url),
            PublicUrl::PerProject { scheme, parent } => {
                format!("*.{}", host_of(&format!("{scheme}{parent}")))
            }
        }
    }
}

fn origin_of(url: &str) -> &str {
    let host_at = url.find("://").map_or(0, |at| at + "://".len());
    url[host_at..].find(['/', '?', '#']).map_or(url, |at| &url[..host_at + at])
}

/// The host of a URL in lower case, without its port and without a final dot.
fn host_of(url: &str) -> String {
    let origin = origin_of(url);
    let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    let host = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => &authority[..at],
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}
