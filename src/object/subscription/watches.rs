//! Exchanges cursors and tails with the subscription's streams, and links the streams that its pattern matches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use super::directory::registry_of;
use super::due::again_at;
use super::part::{CALLED_AT_ONCE_MAX, LINKS_IN_ROW_MAX, PAGE_STREAMS_MAX, RESTING_MAX, StoredSubscription};
use crate::object::effect::{About, CallResult, Calling, Calls, Effect, LogEvent, Outcome, mismatch};
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::listing::{ListQuery, ListedStreams};
use crate::protocol::path::StreamPath;
use crate::protocol::subscription::glob::Pattern;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::watch::{Progress, Unwatch, Watch, WatchAnswer, WatchFrom};
use crate::storage::commit::Change;
use crate::storage::subscription::{SubscriptionChange, count_links, next_links, owing_links};
use crate::storage::{Failure, Sql};
use crate::subscription::link::StreamLink;
use crate::subscription::{Phase, StoredError, Subscription};

impl Object {
    pub(in crate::object) fn next_watches(
        &mut self,
        sql: &dyn Sql,
        now: Millis,
    ) -> Result<Option<Effect>, Failure> {
        self.subscription.resting.retain(|_, until| *until > now);
        loop {
            let calls = self.next_calls(now);
            if !calls.is_empty() {
                self.subscription.outdated.clear();
                return Ok(Some(Effect::Calls(Calls { calls, about: About::Watches })));
            }
            if self.recall_more(sql, now)? {
                continue;
            }
            self.subscription.called_through.clear();
            if std::mem::take(&mut self.subscription.has_failed) {
                return Err(unanswered());
            }
            let Some(subscription) = self.subscription.get() else { return Ok(None) };
            if subscription.has_ended() {
                self.clear_links(sql)?;
                return Ok(None);
            }
            if subscription.may_finish_linking() {
                self.change(sql, now, |_| ())?;
            }
            return Ok(self.next_page());
        }
    }

    /// Drops the links of an ended subscription, after all its streams were called.
    fn clear_links(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        let has_links = self.subscription.get().is_some_and(|found| !found.links.is_empty());
        if has_links || count_links(sql)? > 0 {
            let cleared =
                self.subscription.get().map(|found| Subscription { links: BTreeMap::new(), ..found.clone() });
            if let Some(subscription) = cleared {
                let change = SubscriptionChange {
                    subscription: &subscription,
                    is_new: true,
                    spilled: &[],
                    dropped: &[],
                };
                self.commit(sql, &Change::Subscription(change))?;
                self.subscription.stored = StoredSubscription::Some(Box::new(subscription));
            }
        }
        self.subscription.is_cleared = true;
        Ok(())
    }

    /// The next calls in this run.
    fn next_calls(&self, now: Millis) -> Vec<(String, Call)> {
        let part = &self.subscription;
        let Some(subscription) = part.get() else { return Vec::new() };
        let has_ended = subscription.has_ended();
        if has_ended && part.is_cleared {
            return Vec::new();
        }
        let after = Bound::Excluded(part.called_through.clone());
        let rest = subscription.links.range((after, Bound::Unbounded));
        let owing = rest.filter(|(path, link)| has_ended || link.owes_watch() && !part.rests(path, now));
        let call = |(path, link): (&String, &StreamLink)| (path.clone(), call_for(subscription, link, now));
        owing.take(CALLED_AT_ONCE_MAX).map(call).collect()
    }

    /// Loads more links that may need calls; returns whether it found any. Pending links stay in storage until a wake
    /// takes them.
    fn recall_more(&mut self, sql: &dyn Sql, now: Millis) -> Result<bool, Failure> {
        let part = &mut self.subscription;
        let StoredSubscription::Some(subscription) = &mut part.stored else { return Ok(false) };
        if subscription.has_ended() {
            if part.is_cleared {
                return Ok(false);
            }
            let links = next_links(sql, &part.cleared_through, LINKS_IN_ROW_MAX)?;
            let Some((last, _)) = links.last() else { return Ok(false) };
            part.cleared_through.clone_from(last);
            part.called_through.clear();
            // These links are not stored again.
            subscription.links = links.into_iter().collect();
            return Ok(true);
        }
        if !subscription.state.spilled {
            return Ok(false);
        }
        if part.recalled_through.is_empty() {
            part.has_new_rows = false;
        }
        let links = owing_links(sql, &part.recalled_through, LINKS_IN_ROW_MAX)?;
        let Some((last, _)) = links.last() else {
            // If links came into memory, others may have moved to storage meanwhile.
            subscription.state.spilled = std::mem::take(&mut part.has_recalled);
            part.recalled_through.clear();
            return Ok(false);
        };
        part.recalled_through.clone_from(last);
        for (path, link) in links.into_iter().filter(|(_, link)| link.owes_watch()) {
            let rests = part.resting.get(&path).is_some_and(|until| *until > now);
            if let Entry::Vacant(vacant) = subscription.links.entry(path) {
                part.has_recalled = true;
                if !rests {
                    vacant.insert(link);
                }
            }
        }
        Ok(true)
    }

    /// Requests streams from the registry that the pattern of a new subscription may match.
    fn next_page(&self) -> Option<Effect> {
        let part = &self.subscription;
        let subscription = part.get()?;
        let Phase::Linking { after, is_listed: false } = &subscription.state.phase else { return None };
        if part.page.is_some() || !subscription.state.enlisted {
            return None;
        }
        let pattern = subscription.config.whole_pattern(&subscription.name)?;
        let prefix = Pattern::parse(&pattern).ok()?.literal_prefix();
        let query = ListQuery { prefix, after: after.clone(), limit: PAGE_STREAMS_MAX, subscriptions: false };
        let to = registry_of(self.settings.registries, &subscription.name);
        let about = About::Page { incarnation: subscription.state.incarnation };
        Some(Effect::Call(Calling { to, call: Call::List(query), about }))
    }

    pub(in crate::object) fn page_listed(
        &mut self,
        sql: &dyn Sql,
        incarnation: u64,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        if self.is_over(sql, incarnation, outcome)? {
            return Ok(LogEvent::Linked);
        }
        let Answered::Listed(ListedStreams { paths, next }) = outcome.answer("list streams")? else {
            return Err(mismatch("list streams"));
        };
        for path in paths {
            self.recall_link(sql, path)?;
        }
        self.load(sql)?;
        let part = &mut self.subscription;
        let StoredSubscription::Some(subscription) = &mut part.stored else { return Ok(LogEvent::Linked) };
        for path in paths {
            let is_stream = StreamPath::of_text(path.clone())
                .is_ok_and(|path| !path.is_registry() && !path.is_protocols());
            if !is_stream || !subscription.finds(path) {
                continue;
            }
            // The link is stored once the stream has answered.
            let link = subscription.links.entry(path.clone()).or_default();
            (link.glob, link.removed) = (true, false);
        }
        part.page = Some(next.clone());
        self.end_page(sql, now)?;
        Ok(LogEvent::Linked)
    }

    /// Goes to the next page once all streams of this one are linked, or rest after a failed call. The links of those
    /// are stored with the start of the next page.
    fn end_page(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        let part = &self.subscription;
        let is_done =
            |(path, link): (&String, &StreamLink)| link.acked.is_some() || part.resting.contains_key(path);
        let is_called = part.get().is_some_and(|found| found.links.iter().all(is_done));
        let Some(next) = part.page.clone().filter(|_| is_called) else { return Ok(()) };
        self.subscription.page = None;
        self.change(sql, now, |subscription| {
            if let Phase::Linking { after, is_listed } = &mut subscription.state.phase {
                *is_listed = next.is_none();
                *after = next.unwrap_or_default();
            }
        })?;
        Ok(())
    }

    pub(in crate::object) fn have_watched(
        &mut self,
        sql: &dyn Sql,
        calls: &[(String, Call)],
        results: &[CallResult],
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        self.load(sql)?;
        let has_ended = self.subscription.get().is_none_or(Subscription::has_ended);
        let ends = |(_, call): &(String, Call)| matches!(call, Call::Unwatch(unwatch) if unwatch.has_ended);
        match calls.last() {
            // The subscription was deleted meanwhile, so all its links end now. These answers say nothing about that.
            Some(last) if has_ended && !ends(last) => {
                self.subscription.called_through.clear();
                return Ok(LogEvent::Linked);
            }
            Some((last, _)) => self.subscription.called_through.clone_from(last),
            None => {}
        }
        if has_ended {
            self.subscription.has_failed |= results.iter().any(|result| *result != Ok(Answered::Unwatched));
            return Ok(LogEvent::Linked);
        }
        let outdated = std::mem::take(&mut self.subscription.outdated);
        if !outdated.is_empty() {
            self.subscription.called_through.clear();
        }
        let applied = self.change(sql, now, |subscription| {
            let mut applied = Applied::default();
            let current = calls.iter().zip(results).filter(|((path, _), _)| !outdated.contains(path));
            for ((path, call), result) in current {
                applied.answer(subscription, path, call, result, now);
            }
            applied
        })?;
        let Applied { resting, refused } = applied.unwrap_or_default();
        // Those streams rest, and the others go on.
        let event = if resting.is_empty() { LogEvent::Linked } else { LogEvent::Failed(unanswered()) };
        if !resting.is_empty() {
            self.subscription.resting.extend(resting);
            self.arm(now);
        }
        if self.subscription.resting.len() > RESTING_MAX {
            return Err(Failure::new("watch streams", "too many did not answer"));
        }
        if let Some(path) = refused {
            self.refuse_link(sql, path, now)?;
        }
        self.end_page(sql, now)?;
        Ok(event)
    }

    /// A stream has no room for the watcher of an explicit link. The waiting request fails. If none waits, the
    /// subscription shows the error.
    fn refuse_link(&mut self, sql: &dyn Sql, path: String, now: Millis) -> Result<(), Failure> {
        let part = &self.subscription;
        let is_of_put = part
            .get()
            .is_some_and(|found| found.config.streams.binary_search(&found.name.whole_path(&path)).is_ok());
        let refusal = SubscriptionRefusal::TooManyWatchers { path };
        if part.is_creating && is_of_put {
            return self.cannot_be_created(sql, refusal, now);
        }
        if !part.is_adding {
            let error = StoredError { at: now, message: refusal.message() };
            self.change(sql, now, |subscription| subscription.state.last_error = Some(error))?;
        }
        self.subscription.refused = Some(refusal);
        Ok(())
    }
}

fn unanswered() -> Failure {
    Failure::new("watch streams", "some did not answer")
}

/// The effects of answers to watches that are not part of the subscription.
#[derive(Default)]
struct Applied {
    /// The streams whose calls failed, and when each may be called again.
    resting: BTreeMap<String, Millis>,
    /// An explicit stream that was refused.
    refused: Option<String>,
}

impl Applied {
    /// Applies the answer to one call.
    fn answer(
        &mut self,
        subscription: &mut Subscription,
        path: &str,
        call: &Call,
        result: &CallResult,
        now: Millis,
    ) {
        let is_watch = is_watch_of(subscription.state.incarnation, call);
        let link = subscription.links.get_mut(path);
        let has_failed = match result {
            // If the stream has accepted this link before, retry later.
            Ok(Answered::Watched(WatchAnswer::TooMany)) if is_watch => match link {
                Some(link) if link.acked.is_some() => true,
                Some(_) | None => {
                    self.refused = too_many(subscription, path).or(self.refused.take());
                    false
                }
            },
            Ok(Answered::Watched(WatchAnswer::From { acked, tail })) => match link.filter(|_| is_watch) {
                None => false,
                Some(link) => {
                    link.acked = link.acked.or(Some(*acked));
                    link.added_at = None;
                    link.reaches(*tail);
                    // An answer about an older cursor does not settle the current one.
                    let is_current = link.acked == Some(*acked);
                    link.settled = is_current && !link.is_pending() && !link.removed;
                    // The stream has a cursor other than the one sent, so calling it again at once would change
                    // nothing.
                    !is_current && !is_answer_to(call, *acked)
                }
            },
            Ok(Answered::Unwatched) => {
                subscription.links.retain(|found, link| found != path || !link.removed);
                false
            }
            Ok(_) | Err(_) => true,
        };
        let link = subscription.links.get_mut(path);
        if has_failed {
            let since = link.map_or(now, |link| *link.failing_since.get_or_insert(now));
            self.resting.insert(path.to_owned(), again_at(since, now));
        } else if let Some(link) = link {
            link.failing_since = None;
        }
    }
}

/// The call that a link needs.
fn call_for(subscription: &Subscription, link: &StreamLink, now: Millis) -> Call {
    let (name, incarnation) = (subscription.name.object(), subscription.state.incarnation);
    if subscription.has_ended() || link.removed {
        let has_ended = subscription.has_ended();
        return Call::Unwatch(Unwatch { subscription: name, incarnation, has_ended });
    }
    let added_at = link.added_at.unwrap_or(subscription.state.created_at);
    let from = match link.acked {
        Some(acked) => WatchFrom::Acked(acked),
        // A stream that has notified first may have a link from its beginning.
        None if link.tail.is_some() => WatchFrom::since(added_at),
        None => WatchFrom::added(added_at, now),
    };
    let added_at = link.acked.is_none().then_some(added_at);
    Call::Watch(Watch { subscription: name, incarnation, glob: !link.explicit, from, added_at })
}

/// Whether the answer has the cursor of the call, if the call has one.
fn is_answer_to(call: &Call, answered: Progress) -> bool {
    !matches!(call, Call::Watch(Watch { from: WatchFrom::Acked(sent), .. }) if *sent != answered)
}

fn is_watch_of(incarnation: u64, call: &Call) -> bool {
    matches!(call, Call::Watch(watch) if watch.incarnation == incarnation)
}

/// Handles a stream that has no room for watchers: refuses an explicit link, and drops a pattern's link.
fn too_many(subscription: &mut Subscription, path: &str) -> Option<String> {
    let link = subscription.links.get(path)?;
    if link.acked.is_some() {
        return None;
    }
    let refused = link.explicit.then(|| subscription.name.relative_path(path).to_owned());
    subscription.links.remove(path);
    refused
}
