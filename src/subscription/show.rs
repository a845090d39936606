//! The description of a subscription for clients (PROTOCOL.md 6.3).

use super::link::StreamLink;
use super::wake::Snapshot;
use super::{Phase, Subscription};
use crate::protocol::lifetime::rfc3339;
use crate::protocol::subscription::answer::{LastError, Shown, ShownLink, ShownWebhook, WokenStream};
use crate::protocol::subscription::config::WakeChannel;

/// The most links in the description of a subscription.
pub const SHOWN_LINKS_MAX: usize = 1_000;
/// The most links of a subscription in the list.
pub const LISTED_LINKS_MAX: usize = 10;

impl Subscription {
    /// The description, with these links, and at most `max` pending streams.
    pub fn shown(&self, links: &[(String, StreamLink)], max: usize) -> Shown {
        let state = &self.state;
        let (kind, webhook, wake_stream) = match &self.config.channel {
            WakeChannel::Webhook { url } => {
                ("webhook", Some(ShownWebhook { url: url.clone(), signing: None }), None)
            }
            WakeChannel::PullWake { wake_stream } => ("pull-wake", None, Some(self.relative(wake_stream))),
        };
        let is_failed = state.failures > 0 || state.phase == Phase::Parked;
        let pending = self.links.iter().filter(|(_, link)| link.is_pending());
        Shown {
            id: self.name.id.clone(),
            subscription_id: self.name.id.clone(),
            kind: kind.to_owned(),
            pattern: self.config.pattern.clone(),
            streams: links.iter().map(|(path, link)| self.shown_link(path, link)).collect(),
            webhook,
            wake_stream,
            lease_ttl_ms: self.config.lease_ttl_ms,
            created_at: rfc3339(state.created_at),
            status: if is_failed { "failed" } else { "active" }.to_owned(),
            description: self.config.description.clone(),
            phase: self.phase_name().to_owned(),
            generation: state.generation,
            holder: state.wake.as_ref().and_then(|wake| wake.holder.clone()),
            pending: pending.take(max).map(|(path, _)| self.relative(path)).collect(),
            last_error: state
                .last_error
                .as_ref()
                .map(|error| LastError { at: rfc3339(error.at), message: error.message.clone() }),
            next_attempt_at: state.not_before.map(rfc3339),
            has_more_streams: false,
            stream_count: links.len(),
        }
    }

    fn shown_link(&self, path: &str, link: &StreamLink) -> ShownLink {
        ShownLink {
            path: self.relative(path),
            link_type: link.kind().to_owned(),
            acked_offset: link.acked.map_or_else(|| "-1".to_owned(), |acked| acked.offset.to_string()),
        }
    }

    pub(super) fn phase_name(&self) -> &'static str {
        match self.state.phase {
            Phase::Linking { .. } => "linking",
            Phase::Active => "active",
            Phase::Parked => "parked",
            Phase::Ended => "deleted",
        }
    }

    /// The streams of the wake in flight, in the form that the holder receives.
    pub fn woken(&self) -> Vec<WokenStream> {
        let Some(wake) = &self.state.wake else { return Vec::new() };
        wake.streams.iter().filter_map(|snapshot| self.woken_stream(snapshot)).collect()
    }

    fn woken_stream(&self, Snapshot { path, tail }: &Snapshot) -> Option<WokenStream> {
        let link = self.links.get(path)?;
        let acked = link.acked?;
        Some(WokenStream {
            path: self.relative(path),
            link_type: link.kind().to_owned(),
            acked_offset: acked.offset.to_string(),
            tail_offset: tail.offset.to_string(),
            has_pending: *tail > acked,
            closed: tail.closed,
        })
    }

    fn relative(&self, path: &str) -> String {
        self.name.relative_path(path).to_owned()
    }
}
