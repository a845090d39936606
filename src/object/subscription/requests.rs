//! The requests of clients to a subscription. An answer may depend on streams; the request then continues once the
//! lanes are idle.

use std::rc::Rc;

use super::after::{After, Responded};
use super::part::{LINKS_IN_ROW_MAX, LOOKED_AT_MAX, StoredSubscription, SubscriptionPart};
use crate::object::live::Sockets;
use crate::object::ports::Ports;
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::registry::Registries;
use crate::protocol::subscription::SubscriptionName;
use crate::protocol::subscription::answer::SubscriptionAnswer;
use crate::protocol::subscription::config::{
    OWN_WAKE_STREAM, Patch, STREAMS_MAX, SubscriptionConfig, WakeChannel,
};
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::{SubscriptionRequest, WakeRequest};
use crate::storage::commit::Change;
use crate::storage::subscription::{SubscriptionChange, each_explicit_link, next_links};
use crate::storage::{Failure, Sql};
use crate::subscription::lease::{Acking, Claiming, NotAcked};
use crate::subscription::link::StreamLink;
use crate::subscription::show::{LISTED_LINKS_MAX, SHOWN_LINKS_MAX};
use crate::subscription::{Predecessor, Subscription};

impl Object {
    /// Answers a request to the subscription of this name.
    pub(in crate::object) fn request<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        name: &str,
        request: &SubscriptionRequest,
        random: &dyn Fn() -> String,
        now: Millis,
    ) -> Result<Responded, Failure> {
        let sql = ports.sql;
        self.load(sql)?;
        let is_there = self.subscription.get().is_some_and(|found| !found.has_ended());
        match request {
            SubscriptionRequest::Put { config, base } if is_there => {
                self.confirm_subscription(sql, config, base, now)
            }
            SubscriptionRequest::Put { config, base } => {
                self.create_subscription(sql, name, config, base, random, now)
            }
            SubscriptionRequest::Delete => {
                if is_there {
                    self.end_subscription(sql, now)?;
                }
                Ok(SubscriptionAnswer::Done.into())
            }
            _ if !is_there => Ok(self.absent(request, now).into()),
            SubscriptionRequest::Get => {
                Ok(SubscriptionAnswer::Shown(self.shown(sql, SHOWN_LINKS_MAX)?).into())
            }
            SubscriptionRequest::Summarize => {
                Ok(SubscriptionAnswer::Shown(self.shown(sql, LISTED_LINKS_MAX)?).into())
            }
            SubscriptionRequest::AddStreams(paths) => self.add_streams(sql, paths, now),
            SubscriptionRequest::RemoveStream(path) => self.remove_stream(sql, path, now),
            SubscriptionRequest::Claim { holder } => self.claim(sql, holder, true, now),
            SubscriptionRequest::Callback(request) => self.ack(sql, request, true, true, now),
            SubscriptionRequest::Ack(request) => self.ack(sql, request, false, true, now),
            SubscriptionRequest::Release(request) => self.release_wake(sql, request, now),
            SubscriptionRequest::Patch(patch) => self.patch(sql, patch, now),
            SubscriptionRequest::Resume => {
                self.change(sql, now, |subscription| {
                    subscription.resume(now);
                    subscription.retry_now();
                })?;
                Ok(SubscriptionAnswer::Shown(self.shown(sql, SHOWN_LINKS_MAX)?).into())
            }
        }
    }

    /// The refusal of a request to a subscription that does not exist. Without a valid wake token, it is the refusal at one
    /// that exists.
    fn absent(&self, request: &SubscriptionRequest, now: Millis) -> SubscriptionRefusal {
        let Some(wake) = request.wake() else { return SubscriptionRefusal::NotFound };
        let verified = self.subscription.get().map(|ended| ended.verify(wake, now));
        match verified {
            Some(Ok(_)) => SubscriptionRefusal::NotFound,
            Some(Err(refusal)) => refusal,
            None => SubscriptionRefusal::TokenInvalid,
        }
    }

    /// Continues a request, once the lanes are idle or the time is up.
    pub fn go_on_after<S: Sockets>(
        &mut self,
        ports: &Ports<'_, S>,
        after: After,
        now: Millis,
    ) -> Result<Responded, Failure> {
        let sql = ports.sql;
        self.load(sql)?;
        let is_there = self.subscription.get().is_some_and(|found| !found.has_ended());
        match &after {
            After::Created => self.subscription.is_creating = false,
            After::StreamsAdded => self.subscription.is_adding = false,
            After::Confirmed | After::Claim { .. } | After::Ack(_) | After::NextWake => {}
        }
        // If the subscription exists, the refusal concerns a stream that was added to it.
        let is_put = matches!(after, After::Created | After::Confirmed);
        let may_be_refused = after == After::StreamsAdded || is_put && !is_there;
        if may_be_refused && let Some(refusal) = &self.subscription.refused {
            return Ok(refusal.clone().into());
        }
        match after {
            _ if !is_there => Ok(SubscriptionRefusal::NotFound.into()),
            After::Created => Ok(SubscriptionAnswer::Created(self.shown(sql, SHOWN_LINKS_MAX)?).into()),
            After::Confirmed => Ok(SubscriptionAnswer::Confirmed(self.shown(sql, SHOWN_LINKS_MAX)?).into()),
            After::StreamsAdded => Ok(SubscriptionAnswer::Done.into()),
            After::Claim { holder } => self.claim(sql, &holder, false, now),
            After::Ack(request) => {
                let is_webhook = self.subscription.get().is_some_and(Subscription::is_webhook);
                self.ack(sql, &request, is_webhook, false, now)
            }
            After::NextWake => {
                let next_wake = self.subscription.get().is_some_and(|found| {
                    let state = &found.state;
                    state.wake.is_some() || state.spilled_pending || found.has_pending()
                });
                Ok(SubscriptionAnswer::Acked { next_wake }.into())
            }
        }
    }

    fn create_subscription(
        &mut self,
        sql: &dyn Sql,
        name: &str,
        config: &SubscriptionConfig,
        base: &str,
        random: &dyn Fn() -> String,
        now: Millis,
    ) -> Result<Responded, Failure> {
        let invalid =
            || Failure::new("create subscription", format_args!("{name} is not a subscription's name"));
        let parsed = SubscriptionName::parse(name).ok_or_else(invalid)?;
        if config.pattern.is_some() && self.settings.registries == Registries::Off {
            return Ok(SubscriptionRefusal::NoRegistry.into());
        }
        let ended = self.subscription.get();
        let before = ended.map_or(Predecessor::default(), Subscription::as_predecessor);
        let key =
            ended.map_or_else(|| format!("{}{}", random(), random()), |ended| ended.state.token_key.clone());
        let mut subscription = Subscription::new(parsed, config.clone(), base.to_owned(), key, before, now);
        let spilled = subscription.spill(LINKS_IN_ROW_MAX);
        let change =
            SubscriptionChange { subscription: &subscription, is_new: true, spilled: &spilled, dropped: &[] };
        self.commit(sql, &Change::Subscription(change))?;
        self.subscription = SubscriptionPart {
            stored: StoredSubscription::Some(Box::new(subscription)),
            is_creating: true,
            ..self.subscription.succeeded(now)
        };
        self.arm(now);
        Ok(Responded::Settle(After::Created))
    }

    fn confirm_subscription(
        &mut self,
        sql: &dyn Sql,
        config: &SubscriptionConfig,
        base: &str,
        now: Millis,
    ) -> Result<Responded, Failure> {
        let is_same = self.subscription.get().is_some_and(|found| *found.config == *config);
        if !is_same {
            return Ok(SubscriptionRefusal::AlreadyExists.into());
        }
        self.change(sql, now, |subscription| {
            subscription.resume(now);
            if subscription.state.base != base {
                base.clone_into(&mut subscription.state.base);
            }
        })?;
        if self.subscription.get().is_some_and(|found| !found.is_linked()) {
            // The first PUT may have got no answer. This one promises the same: later messages cause a wake.
            return Ok(Responded::Settle(After::Confirmed));
        }
        Ok(SubscriptionAnswer::Confirmed(self.shown(sql, SHOWN_LINKS_MAX)?).into())
    }

    fn add_streams(&mut self, sql: &dyn Sql, paths: &[String], now: Millis) -> Result<Responded, Failure> {
        let channel = self.subscription.get().map(|found| &found.config.channel);
        if paths.iter().any(|path| channel.is_some_and(|channel| channel.is_wake_stream(path))) {
            return Ok(SubscriptionRefusal::invalid(OWN_WAKE_STREAM).into());
        }
        (self.subscription.refused, self.subscription.is_adding) = (None, true);
        for path in paths {
            self.recall_link(sql, path)?;
        }
        if self.explicit_with(sql, paths)? > STREAMS_MAX {
            return Ok(SubscriptionRefusal::TooManyStreams.into());
        }
        self.change(sql, now, |subscription| {
            for path in paths {
                let is_found = subscription.is_linked() && subscription.finds(path);
                let added = || match is_found {
                    true => StreamLink::found_before_its_report(),
                    false => StreamLink { added_at: Some(now), ..StreamLink::explicit() },
                };
                let link = subscription.links.entry(path.clone()).or_insert_with(added);
                if !link.explicit || link.removed {
                    let added_at = if link.removed { Some(now) } else { link.added_at };
                    *link = StreamLink {
                        explicit: true,
                        removed: false,
                        settled: false,
                        added_at,
                        ..link.clone()
                    };
                }
            }
        })?;
        self.changed_links(paths);
        Ok(Responded::Settle(After::StreamsAdded))
    }

    /// These links have changed, so answers to calls that are under way do not settle them.
    fn changed_links(&mut self, paths: &[String]) {
        self.subscription.outdated.extend(paths.iter().cloned());
        self.subscription.called_through.clear();
    }

    /// How many explicit streams the subscription has with these.
    fn explicit_with(&self, sql: &dyn Sql, paths: &[String]) -> Result<usize, Failure> {
        let Some(subscription) = self.subscription.get() else { return Ok(paths.len()) };
        let links = &subscription.links;
        let in_memory = links
            .iter()
            .filter(|(path, link)| link.explicit && !link.removed && paths.binary_search(path).is_err());
        let mut count = in_memory.count() + paths.len();
        // A link in memory is newer than its row.
        each_explicit_link(sql, &mut |path| count += usize::from(!links.contains_key(path)))?;
        Ok(count)
    }

    fn remove_stream(&mut self, sql: &dyn Sql, path: &str, now: Millis) -> Result<Responded, Failure> {
        self.recall_link(sql, path)?;
        self.change(sql, now, |subscription| {
            // The pattern also finds a stream that was linked explicitly earlier, so that link stays.
            let is_found = subscription.finds(path);
            if let Some(link) = subscription.links.get_mut(path).filter(|link| link.explicit) {
                link.explicit = false;
                link.glob |= is_found;
                link.removed = !link.glob;
                link.settled = false;
            }
        })?;
        self.changed_links(&[path.to_owned()]);
        Ok(SubscriptionAnswer::Done.into())
    }

    fn claim(
        &mut self,
        sql: &dyn Sql,
        holder: &str,
        may_look: bool,
        now: Millis,
    ) -> Result<Responded, Failure> {
        self.recall_pending(sql)?;
        let claimed = self.change(sql, now, |subscription| subscription.claim(holder, now))?;
        match claimed {
            None => Ok(SubscriptionRefusal::NotFound.into()),
            Some(Ok(Claiming::Claimed(claimed))) => Ok(SubscriptionAnswer::Claimed(claimed).into()),
            Some(Ok(Claiming::Look)) if may_look => {
                self.look_at_recent(sql)?;
                Ok(Responded::Settle(After::Claim { holder: holder.to_owned() }))
            }
            Some(Ok(Claiming::Look)) => Ok(SubscriptionRefusal::NoPendingWork.into()),
            Some(Err(refusal)) => Ok(refusal.into()),
        }
    }

    /// Marks some streams to be called for their tails: those of links in memory, or else the first ones in storage.
    fn look_at_recent(&mut self, sql: &dyn Sql) -> Result<(), Failure> {
        let Some(subscription) = self.subscription.stored_mut() else { return Ok(()) };
        if subscription.links.is_empty() {
            subscription.links.extend(next_links(sql, "", LOOKED_AT_MAX)?);
        }
        subscription.links.values_mut().take(LOOKED_AT_MAX).for_each(|link| link.settled = false);
        self.subscription.called_through.clear();
        Ok(())
    }

    fn ack(
        &mut self,
        sql: &dyn Sql,
        request: &WakeRequest,
        is_callback: bool,
        may_look: bool,
        now: Millis,
    ) -> Result<Responded, Failure> {
        // Without a valid token, a request must not reveal the type of the subscription.
        if let Some(Err(refusal)) = self.subscription.get().map(|found| found.verify(request, now)) {
            return Ok(refusal.into());
        }
        if self.subscription.get().is_some_and(|found| found.is_webhook() != is_callback) {
            let why = if is_callback {
                "only webhooks have callbacks: use ack"
            } else {
                "webhooks have callbacks: use callback"
            };
            return Ok(SubscriptionRefusal::invalid(why).into());
        }
        // Only the holder of the wake may cause reads of links.
        if let Some(Err(refusal)) = self.subscription.get().map(|found| found.fence(request, now)) {
            return Ok(refusal.into());
        }
        for ack in &request.acks {
            self.recall_link(sql, &ack.path)?;
        }
        let acked = self.change(sql, now, |subscription| subscription.ack(request, may_look, now))?;
        match acked {
            None => Ok(SubscriptionRefusal::NotFound.into()),
            Some(Ok(Acking::Extended)) => Ok(SubscriptionAnswer::Acked { next_wake: false }.into()),
            Some(Ok(Acking::Over)) => Ok(Responded::Settle(After::NextWake)),
            Some(Err(NotAcked::Refused(refusal))) => Ok(refusal.into()),
            Some(Err(NotAcked::Look(paths))) => {
                if let Some(subscription) = self.subscription.stored_mut() {
                    for path in &paths {
                        if let Some(link) = subscription.links.get_mut(path) {
                            // The known tail is out of date.
                            (link.tail, link.settled) = (None, false);
                        }
                    }
                }
                self.changed_links(&paths);
                Ok(Responded::Settle(After::Ack(request.clone())))
            }
        }
    }

    fn release_wake(
        &mut self,
        sql: &dyn Sql,
        request: &WakeRequest,
        now: Millis,
    ) -> Result<Responded, Failure> {
        if let Some(Err(refusal)) = self.subscription.get().map(|found| found.verify(request, now)) {
            return Ok(refusal.into());
        }
        if self.subscription.get().is_some_and(Subscription::is_webhook) {
            return Ok(
                SubscriptionRefusal::invalid("only a subscription of type pull-wake has release").into()
            );
        }
        match self.change(sql, now, |subscription| subscription.release(request, now))? {
            None => Ok(SubscriptionRefusal::NotFound.into()),
            Some(Ok(())) => Ok(SubscriptionAnswer::Done.into()),
            Some(Err(refusal)) => Ok(refusal.into()),
        }
    }

    fn patch(&mut self, sql: &dyn Sql, patch: &Patch, now: Millis) -> Result<Responded, Failure> {
        let is_webhook = self.subscription.get().is_some_and(Subscription::is_webhook);
        if patch.url.is_some() && !is_webhook {
            return Ok(SubscriptionRefusal::invalid("only a webhook has a URL").into());
        }
        self.change(sql, now, |subscription| {
            let mut config = (*subscription.config).clone();
            if let Some(url) = &patch.url {
                config.channel = WakeChannel::Webhook { url: url.clone() };
            }
            config.lease_ttl_ms = patch.lease_ttl_ms.unwrap_or(config.lease_ttl_ms);
            if let Some(description) = &patch.description {
                config.description.clone_from(description);
            }
            if config != *subscription.config {
                subscription.config = Rc::new(config);
                subscription.changed(now);
            }
        })?;
        Ok(SubscriptionAnswer::Shown(self.shown(sql, SHOWN_LINKS_MAX)?).into())
    }
}
