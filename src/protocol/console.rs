//! The console's files (docs/console.md): their URLs, and the headers of the responses that carry them. Unlike a
//! stream's content, they are a page that the browser runs, so they have a `Content-Security-Policy` of their own.

use super::names::{CONSOLE_PATH, header};
use super::reply::Reply;

/// The name of the page among the files.
const PAGE: &str = "index.html";

/// The headers that a stream's content does not have, or has with other values.
const HEADERS: [(&str, &str); 4] = [
    ("content-security-policy", POLICY),
    (header::RESOURCE_POLICY, "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
];

/// Allows only this server's own files and requests to this server. With `trusted-types 'none'`, no script can
/// turn a text into HTML.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// The page names the other files, so browsers must always have the page of this deployment.
const CACHED_PAGE: &str = "no-cache";
/// The names of the other files contain a hash of their content.
const CACHED_FILE: &str = "public, max-age=31536000, immutable";

/// The types of the files by the ends of their names.
const TYPES: [(&str, &str); 4] = [
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".svg", "image/svg+xml"),
];

/// A file of the console, which may be missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsoleFile {
    name: String,
    content_type: &'static str,
}

impl ConsoleFile {
    /// Whether the path of a URL belongs to the console.
    pub fn owns(path: &str) -> bool {
        path.strip_prefix(CONSOLE_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The file at a path. `None` if no file can be there.
    pub fn at(path: &str) -> Option<ConsoleFile> {
        let name = path.strip_prefix(CONSOLE_PATH)?.trim_start_matches('/');
        let name = if name.is_empty() { PAGE } else { name };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let (_, content_type) = TYPES.into_iter().find(|(end, _)| name.ends_with(end))?;
        name.bytes().all(is_plain).then(|| ConsoleFile { name: name.to_owned(), content_type })
    }

    /// The path of the file among the static assets.
    pub fn asset_path(&self) -> String {
        format!("/{}", self.name)
    }

    /// The response that carries the file, without its body.
    pub fn reply(&self) -> Reply {
        let cache = if self.name == PAGE { CACHED_PAGE } else { CACHED_FILE };
        let mut reply = Reply::made(Reply::BYTES, cache.to_owned());
        reply.headers.retain(|(name, _)| HEADERS.iter().all(|(own, _)| own != name));
        reply.headers.extend(HEADERS.map(|(name, value)| (name, value.to_owned())));
        reply.with(header::CONTENT_TYPE, self.content_type)
    }
}
