//! What a subscription's object does in its own time, in three lanes: the directory (its pattern and its events, at the
//! registry), watches (cursors and tails, with its streams), and delivery (one wake at a time).

use super::requests::registry_of;
use super::{Stored, recall};
use crate::object::effect::{About, CallResult, Calling, Calls, Effect, LogEvent, Outcome, Post};
use crate::object::pending::RETRY;
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::listing::{ListQuery, ListedStreams};
use crate::protocol::path::StreamPath;
use crate::protocol::registry::{Record, Registries};
use crate::protocol::subscription::answer::{WakeEvent, WebhookBody};
use crate::protocol::subscription::config::Channel;
use crate::protocol::subscription::glob::Pattern;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::watch::{
    Enlist, Enlisted, Unwatch, WakeAppend, WakeAppended, Watch, WatchFrom, Watched, Watcher,
};
use crate::storage::commit::Change;
use crate::storage::subscription::next_links;
use crate::storage::{Failure, Sql};
use crate::subscription::link::Link;
use crate::subscription::wake::Delivered;
use crate::subscription::{Phase, Subscription};

/// The most streams that are called at the same time.
pub const CALLED_AT_ONCE_MAX: usize = 32;
/// How many streams of the registry's list are linked before the next ones are listed.
pub const PAGE_STREAMS_MAX: u64 = 64;
/// How long a delivery may take at most; a shorter lease is its limit.
pub const DELIVERY_MAX: Millis = 30_000;
/// How long linking may take before a stream counts as linked late. Then its cursor begins before what was written since.
const LINKED_LATE_AFTER: Millis = 5_000;

impl Object {
    // When something is due.

    pub(in crate::object) fn directory_may_begin(&self, now: Millis) -> bool {
        let rests = self.subscription.directory_rests_until.is_some_and(|until| now < until);
        !rests && self.subscription.get().is_some_and(|found| self.has_directory_work(found))
    }

    fn has_directory_work(&self, subscription: &Subscription) -> bool {
        let is_listed = subscription.config.pattern.is_some() && !subscription.has_ended();
        let reports = self.settings.registries != Registries::Off;
        is_listed != subscription.state.enlisted || reports && !subscription.state.unreported.is_empty()
    }

    pub(in crate::object) fn watches_may_begin(&self, now: Millis) -> bool {
        let part = &self.subscription;
        let rests = part.watches_rest_until.is_some_and(|until| now < until);
        !rests && part.get().is_some_and(|found| self.has_watches_work(found))
    }

    fn has_watches_work(&self, subscription: &Subscription) -> bool {
        if subscription.has_ended() {
            return !self.subscription.is_cleared;
        }
        let lists =
            subscription.is_listing() && subscription.state.enlisted && self.subscription.page.is_none();
        lists || subscription.state.spilled || subscription.links.values().any(Link::owes_watch)
    }

    pub(in crate::object) fn delivery_may_begin(&self, now: Millis) -> bool {
        let rests = self.subscription.delivery_rests_until.is_some_and(|until| now < until);
        let due_at = self.subscription.get().and_then(Subscription::due_at);
        !rests && due_at.is_some_and(|at| now >= at)
    }

    /// When the alarm has to ring for the subscription.
    pub(in crate::object) fn subscription_alarm_at(&self, now: Millis) -> Option<Millis> {
        let part = &self.subscription;
        let subscription = part.get()?;
        let later =
            |rests_until: Option<Millis>| rests_until.filter(|until| *until > now).unwrap_or(now + RETRY);
        let directory_at = self.has_directory_work(subscription).then(|| later(part.directory_rests_until));
        let watches_at = self.has_watches_work(subscription).then(|| later(part.watches_rest_until));
        let due_at =
            subscription.due_at().map(|at| if at > now { at } else { later(part.delivery_rests_until) });
        [directory_at, watches_at, due_at].into_iter().flatten().min()
    }

    /// Whether nothing is left to do with streams and registry, or what is left rests.
    pub fn is_settled(&self, now: Millis) -> bool {
        use crate::object::lanes::Lane;
        let is_idle = |lane| self.lanes.is_idle(lane);
        is_idle(Lane::Watches)
            && is_idle(Lane::Directory)
            && !self.watches_may_begin(now)
            && !self.directory_may_begin(now)
    }

    // The directory.

    pub(in crate::object) fn next_in_directory(&mut self) -> Option<Effect> {
        let subscription = self.subscription.get()?;
        let to = registry_of(self.settings.registries, &subscription.name);
        let watcher =
            Watcher { subscription: subscription.name.object(), incarnation: subscription.state.incarnation };
        let pattern =
            subscription.config.whole_pattern(&subscription.name).filter(|_| !subscription.has_ended());
        if pattern.is_some() != subscription.state.enlisted {
            let about = About::Enlist { incarnation: watcher.incarnation, adds: pattern.is_some() };
            let call = Call::Enlist(Enlist { watcher, pattern });
            return Some(Effect::Call(Calling { to, call, about }));
        }
        if self.settings.registries == Registries::Off {
            return None;
        }
        let (events, through) = subscription.unreported()?;
        let call = Call::Record(Record { path: watcher.subscription, events });
        Some(Effect::Call(Calling { to, call, about: About::Events { through } }))
    }

    pub(in crate::object) fn enlisted(
        &mut self,
        sql: &dyn Sql,
        incarnation: u64,
        adds: bool,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        if self.is_over(sql, incarnation, outcome)? {
            return Ok(LogEvent::Linked);
        }
        match outcome {
            Outcome::Answered(Answered::Enlisted(Enlisted::Done)) => {
                self.change(sql, now, |subscription| subscription.state.enlisted = adds)?;
            }
            Outcome::Answered(Answered::Enlisted(Enlisted::TooMany)) => {
                self.cannot_be_created(sql, SubscriptionRefusal::TooManyPatterns, now)?;
            }
            other => return Err(unanswered("enlist subscription", other)),
        }
        Ok(LogEvent::Linked)
    }

    /// Whether an answer is to a subscription that had this name before. Failures count whoever has called: the lane rests.
    fn is_over(&mut self, sql: &dyn Sql, incarnation: u64, outcome: &Outcome) -> Result<bool, Failure> {
        self.load(sql)?;
        let is_over = self.subscription.get().is_none_or(|found| found.state.incarnation != incarnation);
        Ok(is_over && !matches!(outcome, Outcome::Failed(_)))
    }

    pub(in crate::object) fn events_recorded(
        &mut self,
        sql: &dyn Sql,
        through: u64,
        outcome: &Outcome,
    ) -> Result<LogEvent, Failure> {
        match outcome {
            Outcome::Answered(Answered::Recorded | Answered::RecordedFor(_)) => {
                self.load(sql)?;
                // It is stored with the next change: recording twice is harmless, and a row is not free.
                if let Some(subscription) = self.subscription.get_mut() {
                    subscription.reported(through);
                }
                Ok(LogEvent::Reported)
            }
            other => Err(unanswered("report subscription", other)),
        }
    }

    fn cannot_be_created(
        &mut self,
        sql: &dyn Sql,
        refusal: SubscriptionRefusal,
        now: Millis,
    ) -> Result<(), Failure> {
        self.end_subscription(sql, now)?;
        self.subscription.refused = Some(refusal);
        Ok(())
    }

    /// Ends the subscription; then all its streams are called.
    pub(in crate::object) fn end_subscription(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        self.change(sql, now, |subscription| subscription.end(now))?;
        self.subscription.called_through.clear();
        Ok(())
    }

    // Watches.

    pub(in crate::object) fn next_watches(
        &mut self,
        sql: &dyn Sql,
        now: Millis,
    ) -> Result<Option<Effect>, Failure> {
        loop {
            let calls = self.next_calls(now);
            if !calls.is_empty() {
                return Ok(Some(Effect::Calls(Calls { calls, about: About::Watches })));
            }
            if self.recall_more(sql)? {
                continue;
            }
            self.subscription.called_through.clear();
            if std::mem::take(&mut self.subscription.has_failed) {
                return Err(Failure::new("watch streams", "some did not answer"));
            }
            let Some(subscription) = self.subscription.get() else { return Ok(None) };
            if subscription.has_ended() {
                self.commit(sql, &Change::DropSubscriptionLinks)?;
                if let Stored::Some(subscription) = &mut self.subscription.stored {
                    subscription.links.clear();
                }
                self.subscription.is_cleared = true;
                return Ok(None);
            }
            return Ok(self.next_page());
        }
    }

    /// The next calls of this run.
    fn next_calls(&self, now: Millis) -> Vec<(String, Call)> {
        let part = &self.subscription;
        let Some(subscription) = part.get() else { return Vec::new() };
        let has_ended = subscription.has_ended();
        if has_ended && part.is_cleared {
            return Vec::new();
        }
        let after = std::ops::Bound::Excluded(part.called_through.clone());
        let rest = subscription.links.range((after, std::ops::Bound::Unbounded));
        let owing = rest.filter(|(_, link)| has_ended || link.owes_watch());
        let call = |(path, link): (&String, &Link)| (path.clone(), call_for(subscription, link, now));
        owing.take(CALLED_AT_ONCE_MAX).map(call).collect()
    }

    /// Has more links in memory for the calls of this run; whether there were any.
    fn recall_more(&mut self, sql: &dyn Sql) -> Result<bool, Failure> {
        let part = &mut self.subscription;
        let after = part.called_through.clone();
        let Stored::Some(subscription) = &mut part.stored else { return Ok(false) };
        if subscription.has_ended() {
            if part.is_cleared {
                return Ok(false);
            }
            let links = next_links(sql, &part.cleared_through, super::LINKS_IN_ROW_MAX)?;
            let Some((last, _)) = links.last() else { return Ok(false) };
            part.cleared_through.clone_from(last);
            part.called_through.clear();
            // They are not stored again.
            subscription.links = links.into_iter().collect();
            return Ok(true);
        }
        if !subscription.state.spilled {
            return Ok(false);
        }
        let found = recall(sql, subscription, &after, super::LINKS_IN_ROW_MAX)?;
        if !found && after.is_empty() {
            subscription.state.spilled = false;
        }
        Ok(found)
    }

    /// Asks the registry for streams that the pattern of a new subscription may match.
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
        let Outcome::Answered(Answered::Listed(ListedStreams { paths, next })) = outcome else {
            return Err(unanswered("list streams", outcome));
        };
        for path in paths {
            self.recall_link(sql, path)?;
        }
        self.load(sql)?;
        let part = &mut self.subscription;
        let Stored::Some(subscription) = &mut part.stored else { return Ok(LogEvent::Linked) };
        for path in paths {
            let is_stream = StreamPath::of_text(path.clone())
                .is_ok_and(|path| !path.is_registry() && !path.is_protocols());
            if !is_stream || !subscription.finds(path) {
                continue;
            }
            // It is stored once the stream has answered.
            let link = subscription.links.entry(path.clone()).or_default();
            (link.glob, link.removed) = (true, false);
        }
        part.page = Some(next.clone());
        self.end_page(sql, now)?;
        Ok(LogEvent::Linked)
    }

    /// Goes to the next page, once all streams of this one are linked.
    fn end_page(&mut self, sql: &dyn Sql, now: Millis) -> Result<(), Failure> {
        let is_linked = self
            .subscription
            .get()
            .is_some_and(|found| found.links.values().all(|link| link.acked.is_some()));
        let Some(next) = self.subscription.page.clone().filter(|_| is_linked) else { return Ok(()) };
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
            // It was deleted meanwhile: now all its links end.
            Some(last) if has_ended && !ends(last) => self.subscription.called_through.clear(),
            Some((last, _)) => self.subscription.called_through.clone_from(last),
            None => {}
        }
        let is_new = self.subscription.get().is_some_and(|found| !found.is_linked());
        let (mut has_failed, mut refused) = (false, None);
        let answered = |subscription: &mut Subscription| {
            for ((path, call), result) in calls.iter().zip(results) {
                match result {
                    Ok(Answered::Watched(Watched::TooMany))
                        if is_watch_of(subscription.state.incarnation, call) =>
                    {
                        refused = too_many(subscription, path).or(refused.take())
                    }
                    Ok(Answered::Watched(Watched::From { acked, tail })) => {
                        if let Some(link) = subscription
                            .links
                            .get_mut(path)
                            .filter(|_| is_watch_of(subscription.state.incarnation, call))
                        {
                            link.acked = link.acked.or(Some(*acked));
                            link.reaches(*tail);
                            // An answer about an older cursor says nothing about this one.
                            let is_current = link.acked == Some(*acked);
                            link.settled = is_current && !link.is_pending() && !link.removed;
                        }
                    }
                    Ok(Answered::Unwatched) => {
                        subscription.links.retain(|found, link| found != path || !link.removed);
                    }
                    Ok(_) | Err(_) => has_failed = true,
                }
            }
        };
        if has_ended {
            has_failed = results.iter().any(|result| *result != Ok(Answered::Unwatched));
        } else {
            self.change(sql, now, answered)?;
        }
        self.subscription.has_failed |= has_failed;
        if let Some(path) = refused {
            let refusal = SubscriptionRefusal::TooManyWatchers { path };
            if is_new {
                self.cannot_be_created(sql, refusal, now)?;
            } else {
                self.subscription.refused = Some(refusal);
            }
        }
        self.end_page(sql, now)?;
        Ok(LogEvent::Linked)
    }

    // Delivery.

    pub(in crate::object) fn next_delivery_of_wake(
        &mut self,
        sql: &dyn Sql,
        now: Millis,
    ) -> Result<Option<Effect>, Failure> {
        // What has had its time ends, and the next wake begins, if one is due.
        self.change(sql, now, |subscription| subscription.expire(now))?;
        let registries = self.settings.registries;
        let Some(subscription) = self.subscription.get().filter(|found| found.delivery_is_due(now)) else {
            return Ok(None);
        };
        let Some(wake) = &subscription.state.wake else { return Ok(None) };
        let generation = wake.generation;
        let (name, streams) = (&subscription.name, subscription.woken());
        match &subscription.config.channel {
            Channel::Webhook { url } => {
                let callback_url =
                    format!("{}/subscriptions/{}/callback", subscription.state.base, encoded(&name.id));
                let body = WebhookBody {
                    subscription_id: &name.id,
                    wake_id: &wake.id,
                    generation,
                    streams: &streams,
                    callback_url: &callback_url,
                    callback_token: &subscription.token(now),
                };
                let body =
                    serde_json::to_string(&body).map_err(|error| Failure::new("deliver webhook", error))?;
                Ok(Some(Effect::Post(Post {
                    url: url.clone(),
                    body,
                    generation,
                    registry: registry_of(registries, name),
                    time_max: subscription.config.lease_ttl_ms.min(DELIVERY_MAX),
                })))
            }
            Channel::PullWake { wake_stream } => {
                let event = WakeEvent {
                    kind: "wake",
                    subscription_id: &name.id,
                    stream: streams.first().map_or("", |stream| stream.path.as_str()),
                    generation,
                    ts: now,
                };
                let message =
                    serde_json::to_string(&event).map_err(|error| Failure::new("write wake", error))?;
                let append = WakeAppend { producer: name.object(), generation, message };
                let call = Call::Wake(append);
                Ok(Some(Effect::Call(Calling {
                    to: wake_stream.clone(),
                    call,
                    about: About::WakeEvent { generation },
                })))
            }
        }
    }

    /// A delivery has ended. One that failed is logged, and is no failure of the lane: the wake says when it is repeated.
    pub(in crate::object) fn wake_delivered(
        &mut self,
        sql: &dyn Sql,
        post: &Post,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        let delivered = match outcome {
            Outcome::Delivered(delivered) => delivered.clone(),
            Outcome::Failed(failure) => {
                Delivered::Failed { message: failure.cause.clone(), retry_after: None, is_gone: false }
            }
            Outcome::Done | Outcome::Answered(_) | Outcome::AllAnswered(_) => {
                return Err(unanswered("deliver webhook", outcome));
            }
        };
        let give_up = self.settings.webhooks_give_up_after;
        self.change(sql, now, |subscription| {
            subscription.delivered(post.generation, &delivered, give_up, now)
        })?;
        Ok(match delivered {
            Delivered::Failed { message, .. } => {
                self.delivery_failed("deliver webhook", post.generation, &message)
            }
            Delivered::Done | Delivered::Accepted => LogEvent::Woken { generation: post.generation },
        })
    }

    pub(in crate::object) fn wake_event_written(
        &mut self,
        sql: &dyn Sql,
        generation: u64,
        outcome: &Outcome,
        now: Millis,
    ) -> Result<LogEvent, Failure> {
        let written = match outcome {
            Outcome::Answered(Answered::Woken(WakeAppended::Done)) => Ok(()),
            Outcome::Answered(Answered::Woken(WakeAppended::Refused(why))) => Err(why.clone()),
            Outcome::Failed(failure) => Err(failure.cause.clone()),
            Outcome::Done | Outcome::Answered(_) | Outcome::AllAnswered(_) | Outcome::Delivered(_) => {
                Err("the wake stream gave no answer that is known".to_owned())
            }
        };
        let give_up = self.settings.webhooks_give_up_after;
        let result = written.as_ref().map(|()| ()).map_err(String::as_str);
        self.change(sql, now, |subscription| subscription.event_written(generation, result, give_up, now))?;
        Ok(match written {
            Err(message) => self.delivery_failed("write wake", generation, &message),
            Ok(()) => LogEvent::Woken { generation },
        })
    }

    fn delivery_failed(&self, operation: &'static str, generation: u64, message: &str) -> LogEvent {
        let state = self.subscription.get().map(|found| &found.state);
        let failures = state.map_or(0, |state| state.failures);
        let next = state.and_then(|state| state.not_before).map_or_else(
            || "no other attempt".to_owned(),
            |at| format!("next attempt {}", crate::protocol::lifetime::rfc3339(at)),
        );
        let cause =
            format_args!("generation {generation}, failure {failures} in a row, {next}: {message:.300}");
        LogEvent::Failed(Failure::new(operation, cause))
    }

    pub(in crate::object) fn rest_directory_until(&mut self, at: Millis) {
        self.subscription.directory_rests_until = Some(at);
    }

    pub(in crate::object) fn rest_watches_until(&mut self, at: Millis) {
        self.subscription.watches_rest_until = Some(at);
        self.subscription.called_through.clear();
        self.subscription.cleared_through.clear();
        self.subscription.has_failed = false;
    }

    pub(in crate::object) fn rest_delivery_until(&mut self, at: Millis) {
        self.subscription.delivery_rests_until = Some(at);
    }
}

/// What a stream is called for.
fn call_for(subscription: &Subscription, link: &Link, now: Millis) -> Call {
    let (name, incarnation) = (subscription.name.object(), subscription.state.incarnation);
    if subscription.has_ended() || link.removed {
        let has_ended = subscription.has_ended();
        return Call::Unwatch(Unwatch { subscription: name, incarnation, has_ended });
    }
    let created_at = subscription.state.created_at;
    let is_late = link.glob && !link.explicit && now > created_at + LINKED_LATE_AFTER;
    let from = match link.acked {
        Some(acked) => WatchFrom::Acked(acked),
        None if is_late => WatchFrom::Since(created_at),
        None => WatchFrom::Tail,
    };
    Call::Watch(Watch { subscription: name, incarnation, glob: !link.explicit, from })
}

fn is_watch_of(incarnation: u64, call: &Call) -> bool {
    matches!(call, Call::Watch(watch) if watch.incarnation == incarnation)
}

/// A stream that takes no more watchers: an explicit link to it is refused, and a pattern leaves it out.
fn too_many(subscription: &mut Subscription, path: &str) -> Option<String> {
    let link = subscription.links.get(path)?;
    if link.acked.is_some() {
        return None;
    }
    let refused = link.explicit.then(|| subscription.name.relative_path(path).to_owned());
    subscription.links.remove(path);
    refused
}

fn unanswered(operation: &'static str, outcome: &Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => Failure::new(operation, &failure.cause),
        other => Failure::new(operation, format_args!("{other:.200?}")),
    }
}

/// An id as one segment of a URL.
fn encoded(id: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    // What `encodeURIComponent` leaves as it is.
    const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'!')
        .remove(b'~')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')');
    utf8_percent_encode(id, SEGMENT).to_string()
}
