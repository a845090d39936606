//! What follows from a subscription's key besides its wake tokens (`src/protocol/subscription/wake_token.rs`): the ids of
//! wakes, and the jitter of retries.

use hmac::Mac as _;

use super::{State, Subscription};
use crate::protocol::subscription::wake_token::hash;

/// The length of a wake's id, in bytes of a hash.
const WAKE_ID_BYTES: usize = 12;

impl Subscription {
    /// The id of the current generation's wake. It is unique, and cannot be guessed without the key.
    pub(super) fn wake_id(&self) -> String {
        let derived = self.derived("wake");
        let digits = derived[..WAKE_ID_BYTES].iter().map(|byte| format!("{byte:02x}"));
        format!("w_{}", digits.collect::<String>())
    }

    /// A number for the jitter of the next retry.
    pub(super) fn jitter(&self) -> u64 {
        let derived = self.derived(&format!("retry {}", self.state.failures));
        derived[..6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Bytes that look random but follow from the state, so that the same history always takes the same course.
    fn derived(&self, what: &str) -> [u8; 32] {
        let State { token_key, incarnation, generation, .. } = &self.state;
        hash(token_key, &format!("{what} {incarnation} {generation}")).finalize().into_bytes().into()
    }
}
