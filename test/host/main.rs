//! Host tests: they run the whole server except `src/cloudflare`, without Cloudflare and without a network.

#[cfg(test)]
mod access;
#[cfg(test)]
mod admit;
#[cfg(test)]
mod console;
#[cfg(test)]
mod family_model;
#[cfg(test)]
mod fork_simulation;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_calls;
#[cfg(test)]
mod golden_subscriptions;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod spec;
#[cfg(test)]
mod storage;
#[cfg(test)]
mod subscription_api;
#[cfg(test)]
mod subscription_simulation;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod webhook_responses;
