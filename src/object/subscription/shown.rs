//! Describes a subscription, and receives the notifications of its streams.

use std::collections::BTreeMap;

use crate::object::live::Sockets;
use crate::object::ports::Ports;
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::subscription::answer::Shown;
use crate::protocol::subscription::glob::Pattern;
use crate::protocol::subscription::watch::{CLOCKS_DIFFER_MAX, Noted, Notify};
use crate::storage::subscription::{count_links, find_link, next_links};
use crate::storage::{Failure, Sql};
use crate::subscription::link::StreamLink;
use crate::subscription::{Phase, Subscription};

impl Object {
    /// The description of the subscription, with at most `max` of its links, which are the first.
    pub(super) fn shown(&mut self, sql: &dyn Sql, max: usize) -> Result<Box<Shown>, Failure> {
        let Some(subscription) = self.subscription.get() else { return Ok(Box::default()) };
        // A link in memory is newer than its row.
        let mut links: BTreeMap<String, StreamLink> = next_links(sql, "", max + 1)?.into_iter().collect();
        let mut count = count_links(sql)? as usize;
        for (path, link) in &subscription.links {
            let is_in_row = count > 0 && (links.contains_key(path) || find_link(sql, path)?.is_some());
            count = count + usize::from(!link.removed) - usize::from(is_in_row);
        }
        links.extend(subscription.links.clone());
        let links = links.into_iter().filter(|(_, link)| !link.removed);
        let mut links: Vec<(String, StreamLink)> = links.collect();
        let has_more = links.len() > max;
        links.truncate(max);
        Ok(Box::new(Shown {
            has_more_streams: has_more,
            stream_count: count,
            ..subscription.shown(&links, max)
        }))
    }

    /// Handles a stream's notification.
    pub(in crate::object) fn note<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        notify: &Notify,
        now: Millis,
    ) -> Result<Noted, Failure> {
        let sql = ports.sql;
        self.recall_link(sql, &notify.path)?;
        let Some(subscription) = self.subscription.get() else { return Ok(Noted::Gone) };
        if subscription.has_ended() || subscription.state.incarnation != notify.incarnation {
            if subscription.was_found_after_its_end(notify) {
                // The registry's lane removes the pattern again.
                self.change(sql, now, |subscription| subscription.state.enlisted = true)?;
            }
            return Ok(Noted::Gone);
        }
        let known = subscription.links.get(&notify.path);
        let is_linked = known.is_some_and(|link| !link.removed);
        if !is_linked && (notify.has_ended || !subscription.finds(&notify.path)) {
            return Ok(Noted::Gone);
        }
        self.subscription.resting.remove(&notify.path);
        let noted = self.change(sql, now, |subscription| subscription.noted(notify))?;
        Ok(noted.unwrap_or(Noted::Gone))
    }
}

impl Subscription {
    /// Whether the pattern links a stream. It never links the subscription's own wake stream.
    pub(super) fn finds(&self, path: &str) -> bool {
        let pattern = self.config.whole_pattern(&self.name);
        let pattern = pattern.and_then(|pattern| Pattern::parse(&pattern).ok());
        !self.config.channel.is_wake_stream(path) && pattern.is_some_and(|pattern| pattern.matches(path))
    }

    /// Whether a stream that is younger than the end of a pattern was found by it. Then the call that gave the registry the
    /// pattern arrived after the one that removed it. Without a removal, each matching stream would call for ever.
    fn was_found_after_its_end(&self, notify: &Notify) -> bool {
        let is_unwanted = self.has_ended() || self.config.pattern.is_none();
        let ended_at = self.state.ended_at.unwrap_or(self.state.created_at);
        is_unwanted
            && !self.state.enlisted
            && notify.created_at.is_some_and(|created_at| created_at > ended_at)
    }

    /// Applies a notification of a stream that is linked, or that the pattern has found.
    fn noted(&mut self, notify: &Notify) -> Noted {
        let is_older = notify.created_at.is_some_and(|at| at + CLOCKS_DIFFER_MAX < self.state.created_at);
        let by_pattern = || StreamLink { glob: true, ..StreamLink::default() };
        let link = self.links.entry(notify.path.clone()).or_insert_with(by_pattern);
        if notify.has_ended && link.acked.max(link.tail).is_some_and(|known| known > notify.tail) {
            // The notification is late: the link is to the next stream at this URL.
            return Noted::Taken;
        }
        if notify.has_ended {
            // The stream drops its watcher, so an explicit link calls it again.
            (link.glob, link.settled) = (false, false);
            if !link.explicit {
                self.links.remove(&notify.path);
                return Noted::Gone;
            }
            return Noted::Taken;
        }
        link.reaches(notify.tail);
        if link.acked.is_none() && (is_older || link.added_at.is_some()) {
            // The messages may be older than the subscription, or than a link that was removed and added again. The stream
            // is called for the start of the others.
            return Noted::Taken;
        }
        if link.acked.is_none() {
            link.acked = Some(notify.start);
            link.reaches(notify.tail);
        }
        match link.acked {
            Some(acked) if acked >= notify.tail => Noted::Acked(acked),
            Some(_) | None => Noted::Taken,
        }
    }

    /// Whether the registry's list may still contribute links.
    pub(super) fn is_listing(&self) -> bool {
        matches!(self.state.phase, Phase::Linking { is_listed: false, .. })
    }
}
