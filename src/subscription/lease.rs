//! The requests of a wake's holder: claim, ack, release (PROTOCOL.md 7.1 to 7.3). Each request is checked completely
//! before it changes anything.

use super::Subscription;
use super::wake::WakeStep;
use crate::protocol::Millis;
use crate::protocol::subscription::answer::Claimed;
use crate::protocol::subscription::refusal::SubscriptionRefusal;
use crate::protocol::subscription::request::{Ack, WakeRequest};
use crate::protocol::subscription::wake_token::{TOKEN_VALID, WakeClaims};
use crate::protocol::subscription::watch::Progress;

/// The outcome of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claiming {
    Claimed(Claimed),
    /// No stream is known to be pending, so the subscription must call its streams.
    Look,
}

/// The outcome of a valid ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acking {
    /// The lease is extended.
    Extended,
    /// The wake has ended, and the next one may begin.
    Over,
}

/// The reason why an ack is not applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAcked {
    Refused(SubscriptionRefusal),
    /// The ack is beyond the known tails, so the subscription must call these streams.
    Look(Vec<String>),
}

impl From<SubscriptionRefusal> for NotAcked {
    fn from(refusal: SubscriptionRefusal) -> NotAcked {
        NotAcked::Refused(refusal)
    }
}

impl Subscription {
    /// A worker claims the subscription. If no wake is in flight, the claim begins one.
    pub fn claim(&mut self, by: &str, now: Millis) -> Result<Claiming, SubscriptionRefusal> {
        if self.is_webhook() {
            return Err(SubscriptionRefusal::invalid("only a subscription of type pull-wake can be claimed"));
        }
        if let Some(wake) = &self.state.wake
            && let Some(holder) = &wake.holder
            && wake.lease_until.is_some_and(|until| now < until)
        {
            let (current_holder, generation) = (holder.clone(), wake.generation);
            return Err(SubscriptionRefusal::AlreadyClaimed { current_holder, generation });
        }
        self.expire(now);
        if !self.has_pending() || !self.is_awake() {
            return Ok(Claiming::Look);
        }
        if self.state.wake.is_none() {
            self.begin_wake(WakeStep::Delivered, now);
        }
        let streams = self.snapshot();
        let lease_until = now + self.config.lease_ttl_ms;
        self.state.unclaimed_events = 0;
        self.state.not_before = None;
        if let Some(wake) = &mut self.state.wake {
            wake.step = WakeStep::Delivered;
            wake.streams = streams;
            wake.holder = Some(by.to_owned());
            wake.lease_until = Some(lease_until);
            wake.unclaimed_until = None;
        }
        Ok(Claiming::Claimed(self.claimed(now)))
    }

    fn claimed(&self, now: Millis) -> Claimed {
        Claimed {
            wake_id: self.state.wake.as_ref().map(|wake| wake.id.clone()).unwrap_or_default(),
            generation: self.state.generation,
            token: self.token(now),
            streams: self.woken(),
            lease_ttl_ms: self.config.lease_ttl_ms,
        }
    }

    /// The token of the wake in flight.
    pub fn token(&self, now: Millis) -> String {
        let claims = WakeClaims {
            subscription: self.name.object(),
            incarnation: self.state.incarnation,
            generation: self.state.generation,
            expires_at: now + TOKEN_VALID,
        };
        claims.sign(&self.state.token_key)
    }

    /// Checks the token of a request: whether this subscription has made it.
    pub fn verify(&self, request: &WakeRequest, now: Millis) -> Result<WakeClaims, SubscriptionRefusal> {
        let claims = WakeClaims::verify(&self.state.token_key, &request.token);
        let claims = claims.filter(|claims| claims.subscription == self.name.object());
        let claims = claims.ok_or(SubscriptionRefusal::TokenInvalid)?;
        if now >= claims.expires_at {
            return Err(SubscriptionRefusal::TokenExpired);
        }
        Ok(claims)
    }

    /// Checks that a request is from the current holder (PROTOCOL.md 7.3).
    pub fn fence(&self, request: &WakeRequest, now: Millis) -> Result<(), SubscriptionRefusal> {
        let claims = self.verify(request, now)?;
        let wake = self.state.wake.as_ref().filter(|wake| {
            claims.incarnation == self.state.incarnation
                && claims.generation == wake.generation
                && request.generation == wake.generation
                && request.wake_id == wake.id
                && wake.lease_until.is_some_and(|until| now < until)
        });
        wake.map(|_| ()).ok_or(SubscriptionRefusal::Fenced)
    }

    /// Applies a callback or an ack. If `may_look` is set and an offset is beyond the known tail, the streams are
    /// called first.
    pub fn ack(&mut self, request: &WakeRequest, may_look: bool, now: Millis) -> Result<Acking, NotAcked> {
        self.fence(request, now)?;
        let acks = self.valid(&request.acks, may_look)?;
        let mut makes_progress = false;
        for (path, acked) in acks {
            if let Some(link) = self.links.get_mut(&path) {
                makes_progress |= link.ack(acked);
            }
        }
        if makes_progress {
            self.state.idle_wakes = 0;
        }
        if !request.done {
            let until = now + self.config.lease_ttl_ms;
            if let Some(wake) = &mut self.state.wake {
                wake.lease_until = Some(until);
                wake.step = WakeStep::Delivered;
            }
            return Ok(Acking::Extended);
        }
        self.end_wake();
        if !makes_progress && self.has_pending() {
            self.wait_after_idle_wake(now);
        }
        Ok(Acking::Over)
    }

    /// The holder releases the wake.
    pub fn release(&mut self, request: &WakeRequest, now: Millis) -> Result<(), SubscriptionRefusal> {
        self.fence(request, now)?;
        self.end_wake();
        self.wait_after_idle_wake(now);
        Ok(())
    }

    /// The acks, if all of them are valid.
    fn valid(&self, acks: &[Ack], may_look: bool) -> Result<Vec<(String, Progress)>, NotAcked> {
        let mut valid = Vec::with_capacity(acks.len());
        let mut beyond = Vec::new();
        for Ack { path, offset } in acks {
            let shown = self.name.relative_path(path);
            let refused = |why: &str| {
                let why = format!("{shown:.200}: {why}");
                NotAcked::Refused(SubscriptionRefusal::InvalidOffset { why })
            };
            let link = self.links.get(path).ok_or_else(|| refused("the stream is not linked"))?;
            let cursor = link.acked.ok_or_else(|| refused("the stream is not linked yet"))?;
            let offset = offset.ok_or_else(|| refused("the offset is not one of a response"))?;
            if offset < cursor.offset {
                return Err(refused("the offset is before the cursor"));
            }
            let tail = link.tail.unwrap_or(cursor).max(cursor);
            if offset > tail.offset {
                beyond.push(path.clone());
            }
            // A worker that has reached the tail of a closed stream knows that it is closed.
            let closed =
                if offset == tail.offset { tail.closed } else { cursor.closed && offset == cursor.offset };
            valid.push((path.clone(), Progress { offset, closed }));
        }
        match beyond.first() {
            None => Ok(valid),
            Some(_) if may_look => Err(NotAcked::Look(beyond)),
            Some(path) => {
                let why = format!("{:.200}: the offset is beyond the tail", self.name.relative_path(path));
                Err(SubscriptionRefusal::InvalidOffset { why }.into())
            }
        }
    }
}
