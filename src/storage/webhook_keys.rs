//! Stores the keys that sign webhooks, in the object of a registry. Private keys leave it only in calls between the
//! server's own objects.

use super::{Columns, Failure, Param, Sql, schema};
use crate::protocol::Millis;
use crate::protocol::subscription::keys::{
    KEY_MAX_AGE, KEY_PUBLISHED_AFTER, KEY_PUBLISHED_BEFORE, PublicKey, SigningKey,
};

const PUT: &str = "INSERT INTO webhook_keys (kid, created_at, x, d) VALUES (?, ?, ?, ?)";
const DROP: &str = "DELETE FROM webhook_keys WHERE kid = ?";
const ALL: &str = "SELECT kid, created_at, x, d FROM webhook_keys ORDER BY created_at, kid";

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredKey {
    pub key: SigningKey,
    pub created_at: Millis,
}

/// All keys of a registry, the oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredKeys(Vec<StoredKey>);

pub(super) fn add(
    sql: &dyn Sql,
    StoredKey { key, created_at }: &StoredKey,
    dropped: &[String],
) -> Result<(), Failure> {
    sql.run(schema::CREATE_WEBHOOK_KEYS, &[])?;
    dropped.iter().try_for_each(|kid| sql.run(DROP, &[Param::Text(kid)]))?;
    let params =
        [Param::Text(&key.kid), Param::Integer(*created_at), Param::Text(&key.x), Param::Text(&key.d)];
    sql.run(PUT, &params)
}

/// Loads all keys, the oldest first.
pub fn load(sql: &dyn Sql) -> Result<StoredKeys, Failure> {
    let mut keys = Vec::new();
    if !schema::has_table(sql, schema::WEBHOOK_KEYS)? {
        return Ok(StoredKeys(keys));
    }
    sql.query(ALL, &[], &mut |row| {
        let mut columns = Columns::new("webhook_keys", row);
        let (kid, created_at) = (columns.text()?, columns.integer()?);
        let key = SigningKey { kid, x: columns.text()?, d: columns.text()? };
        keys.push(StoredKey { key, created_at });
        Ok(())
    })?;
    Ok(StoredKeys(keys))
}

impl StoredKeys {
    /// Whether another key must be generated: there is none, or the newest is too old.
    pub fn need_another(&self, now: Millis) -> bool {
        self.0.last().is_none_or(|newest| now >= newest.created_at + KEY_MAX_AGE)
    }

    /// The key that signs now: the newest one published long enough, or else the oldest.
    pub fn signing(&self, now: Millis) -> Option<&SigningKey> {
        let ready = self.0.iter().rfind(|stored| now >= stored.created_at + KEY_PUBLISHED_BEFORE);
        ready.or(self.0.first()).map(|stored| &stored.key)
    }

    /// The keys that receivers may need: first the key that signs now, then future keys and keys that signed recently.
    pub fn published(&self, now: Millis) -> Vec<PublicKey> {
        let published = self.0.iter().filter(|stored| !self.is_over(stored, now));
        let public = |StoredKey { key, .. }: &StoredKey| PublicKey { kid: key.kid.clone(), x: key.x.clone() };
        let mut published: Vec<PublicKey> = published.map(public).collect();
        let signing = self.signing(now).map(|key| &key.kid);
        if let Some(at) = published.iter().position(|key| Some(&key.kid) == signing) {
            published.swap(0, at);
        }
        published
    }

    /// The keys that no receiver needs any more.
    pub fn outdated(&self, now: Millis) -> Vec<String> {
        let outdated = self.0.iter().filter(|stored| self.is_over(stored, now));
        outdated.map(|stored| stored.key.kid.clone()).collect()
    }

    /// Whether a key was replaced so long ago that no signature of it can still be in flight.
    fn is_over(&self, stored: &StoredKey, now: Millis) -> bool {
        let successor = self.0.iter().find(|other| other.created_at > stored.created_at);
        successor.is_some_and(|next| now >= next.created_at + KEY_PUBLISHED_BEFORE + KEY_PUBLISHED_AFTER)
    }
}
