//! Delivers the wake in flight to its webhook, or appends its event to the wake stream.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::directory::registry_of;
use super::part::DELIVERY_MAX;
use crate::object::effect::{About, Calling, Effect, LogEvent, Outcome, Post, mismatch};
use crate::object::state::Object;
use crate::protocol::Millis;
use crate::protocol::call::{Answered, Call};
use crate::protocol::lifetime::rfc3339;
use crate::protocol::subscription::answer::{WakeEvent, WebhookBody};
use crate::protocol::subscription::config::WakeChannel;
use crate::protocol::subscription::watch::{WakeAppend, WakeAppended};
use crate::storage::{Failure, Sql};
use crate::subscription::delivery::Delivered;

/// The characters that `encodeURIComponent` escapes.
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

impl Object {
    pub(in crate::object) fn next_delivery_of_wake(
        &mut self,
        sql: &dyn Sql,
        now: Millis,
    ) -> Result<Option<Effect>, Failure> {
        // Ends an expired lease or event first. Then the next wake begins, if one is due.
        self.change(sql, now, |subscription| subscription.expire(now))?;
        let registries = self.settings.registries;
        let Some(subscription) = self.subscription.get().filter(|found| found.delivery_is_due(now)) else {
            return Ok(None);
        };
        let Some(wake) = &subscription.state.wake else { return Ok(None) };
        let generation = wake.generation;
        let (name, streams) = (&subscription.name, subscription.woken());
        match &subscription.config.channel {
            WakeChannel::Webhook { url } => {
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
                    base: subscription.state.base.clone(),
                    body,
                    generation,
                    registry: registry_of(registries, name),
                    time_max: subscription.config.lease_ttl_ms.min(DELIVERY_MAX),
                })))
            }
            WakeChannel::PullWake { wake_stream } => {
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

    /// A delivery has ended. A failed one is logged but does not fail the lane, because the wake has its own time of
    /// retry.
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
                return Err(mismatch("deliver webhook"));
            }
        };
        let give_up = self.settings.webhooks_give_up_after;
        self.change(sql, now, |subscription| {
            subscription.delivered(post.generation, &delivered, give_up, now)
        })?;
        Ok(match delivered {
            Delivered::Failed { message, .. } | Delivered::Unsent { message } => {
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
        let result = written.as_ref().copied().map_err(String::as_str);
        self.change(sql, now, |subscription| subscription.event_written(generation, result, give_up, now))?;
        Ok(match written {
            Err(message) => self.delivery_failed("write wake", generation, &message),
            Ok(()) => LogEvent::Woken { generation },
        })
    }

    fn delivery_failed(&self, operation: &'static str, generation: u64, message: &str) -> LogEvent {
        let state = self.subscription.get().map(|found| &found.state);
        let failures = state.map_or(0, |state| state.failures);
        let next = state
            .and_then(|state| state.not_before)
            .map_or_else(|| "no other attempt".to_owned(), |at| format!("next attempt {}", rfc3339(at)));
        let cause =
            format_args!("generation {generation}, failure {failures} in a row, {next}: {message:.300}");
        LogEvent::Failed(Failure::new(operation, cause))
    }
}

/// Encodes an id as one segment of a URL.
fn encoded(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}
