//! The three producer headers (PROTOCOL.md 5.2.1): all present, or none.

use super::SAFE_INTEGER_MAX;
use super::refusal::Refusal;

/// The longest `Producer-Id`, in bytes; it is a key in storage.
pub const PRODUCER_ID_MAX_BYTES: usize = 1024;

/// One request of a producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    pub id: String,
    /// The producer's epoch: a new epoch fences older ones.
    pub epoch: u64,
    /// The number of the request within its epoch, from 0.
    pub seq: u64,
}

impl Producer {
    /// Parses the three headers. Refuses an incomplete set and malformed values.
    pub fn parse(
        id: Option<String>,
        epoch: Option<String>,
        seq: Option<String>,
    ) -> Result<Option<Producer>, Refusal> {
        match (id, epoch, seq) {
            (None, None, None) => Ok(None),
            (Some(id), Some(epoch), Some(seq)) => {
                if !is_id(&id) {
                    return Err(Refusal::InvalidHeader {
                        name: "Producer-Id",
                        why: "it must have 1 to 1,024 bytes",
                    });
                }
                let epoch = number("Producer-Epoch", &epoch)?;
                let seq = number("Producer-Seq", &seq)?;
                Ok(Some(Producer { id, epoch, seq }))
            }
            _ => Err(Refusal::InvalidHeader {
                name: "Producer-Id",
                why: "send Producer-Id, Producer-Epoch and Producer-Seq together, or none of them",
            }),
        }
    }
}

/// Whether the text has 1 to [`PRODUCER_ID_MAX_BYTES`] bytes.
pub fn is_id(id: &str) -> bool {
    (1..=PRODUCER_ID_MAX_BYTES).contains(&id.len())
}

fn number(name: &'static str, text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|value| digits && *value <= SAFE_INTEGER_MAX).ok_or(Refusal::InvalidHeader {
        name,
        why: "it must be a whole number from 0 to 9007199254740991, digits only",
    })
}
