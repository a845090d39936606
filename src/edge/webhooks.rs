//! The settings of webhooks: which URLs are allowed, and the URL that webhooks call back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::host::is_authority;
use super::settings::EdgeSettings;
use crate::protocol::names::{PROTOCOL_SEGMENT, STREAM_PREFIX};
use crate::protocol::subscription::webhook_url::{UrlRules, parse_hosts};

/// The characters that a segment of a URL may contain unescaped.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WebhookSettings {
    hosts: Option<Vec<String>>,
    allows_local: bool,
    /// The URL has no slash at its end.
    public_url: Option<String>,
    /// The path of streams in the URLs that webhooks call back, if it is not the server's own.
    mount: Option<String>,
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
        let public_url = public_url.filter(|url| !url.is_empty()).map(str::to_owned);
        if public_url.as_deref().is_some_and(|url| !is_public_url(url)) {
            return Err("PUBLIC_URL must be a URL such as https://streams.example.com".to_owned());
        }
        Ok(WebhookSettings { hosts, allows_local, public_url, mount: settings.mount.clone() })
    }

    /// The rules for a webhook URL in a request to `url`. A server that is only reachable from its own machine
    /// (`is_local`) allows webhooks on that machine.
    pub fn url_rules(&self, is_local: bool, url: &str) -> UrlRules {
        let own = [Some(url), self.public_url.as_deref()];
        UrlRules {
            allows_loopback: is_local || self.allows_local,
            hosts: self.hosts.clone(),
            own_hosts: own.into_iter().flatten().map(host_of).collect(),
        }
    }

    /// The URL of the control root for a request to `url`. It begins with the server's public URL, if that is set.
    pub fn base(&self, url: &str, root: Option<&str>) -> String {
        let origin = self.public_url.as_deref().unwrap_or_else(|| origin_of(url));
        let root = root.map(|root| format!("{}/", utf8_percent_encode(root, SEGMENT))).unwrap_or_default();
        let prefix = self.mount.as_deref().unwrap_or(STREAM_PREFIX);
        format!("{origin}{prefix}{root}{PROTOCOL_SEGMENT}")
    }
}

fn is_public_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>".contains(&byte);
    rest.is_some_and(|rest| {
        rest.bytes().all(is_plain) && is_authority(rest.split('/').next().unwrap_or_default())
    })
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
