//! The keys that sign webhooks, at the registry of their subscriptions. The shell generates the keys, because that
//! takes time.

use super::state::Object;
use crate::protocol::Millis;
use crate::protocol::subscription::keys::{PublicKey, SigningKey};
use crate::storage::commit::Change;
use crate::storage::webhook_keys::{StoredKey, load};
use crate::storage::{Failure, Sql};

impl Object {
    /// Whether a key must be generated before the next answer about keys.
    pub fn needs_key(&self, sql: &dyn Sql, now: Millis) -> Result<bool, Failure> {
        Ok(load(sql)?.need_another(now))
    }

    /// Stores a generated key, unless another was stored first.
    pub fn add_key(&mut self, sql: &dyn Sql, key: SigningKey, now: Millis) -> Result<(), Failure> {
        let keys = load(sql)?;
        if !keys.need_another(now) {
            return Ok(());
        }
        let key = StoredKey { key, created_at: now };
        self.commit(sql, &Change::AddKey { key: &key, dropped: &keys.outdated(now) })
    }

    pub(super) fn signing_key(&self, sql: &dyn Sql, now: Millis) -> Result<SigningKey, Failure> {
        let none = || Failure::new("sign webhook", "there is no key");
        load(sql)?.signing(now).cloned().ok_or_else(none)
    }

    pub(super) fn public_keys(&self, sql: &dyn Sql, now: Millis) -> Result<Vec<PublicKey>, Failure> {
        Ok(load(sql)?.published(now))
    }
}
