//! Host tests: the whole server but `src/cloudflare`, without Cloudflare and without a network.

#[cfg(test)]
mod support;
