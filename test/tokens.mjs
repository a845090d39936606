// Tokens as an application's server makes them, with nothing but Node.

import { createHmac, createSign, generateKeyPairSync, randomBytes, sign as signWith } from "node:crypto"

/** The one token of a server in mode `token`. */
export const AUTH_TOKEN = randomBytes(24).toString("base64url")

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** In so many seconds. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds

/** A secret of HS256, as a JSON Web Key. */
export const secretKey = (kid = "1") => ({ kty: "oct", kid, k: randomBytes(32).toString("base64url") })

/** A token with these claims; `header` replaces parts of its header. */
export function makeToken(key, claims, header = {}) {
  const scope = "read write manage"
  const all = { scope, exp: inSeconds(60), ...claims }
  const message = `${encode({ alg: "HS256", kid: key.kid, ...header })}.${encode(all)}`
  return `${message}.${createHmac("sha256", Buffer.from(key.k, "base64url")).update(message).digest("base64url")}`
}

/** A pair of keys: the public one as a JSON Web Key, and what makes tokens with the other. */
export function keyPair(alg, kid) {
  const { publicKey, privateKey } = {
    RS256: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
    EdDSA: () => generateKeyPairSync("ed25519"),
  }[alg]()
  const sign = (message) => {
    if (alg === "EdDSA") return signWith(null, Buffer.from(message), privateKey)
    return createSign("SHA256").update(message).sign({ key: privateKey, dsaEncoding: "ieee-p1363" })
  }
  return {
    jwk: { ...publicKey.export({ format: "jwk" }), kid },
    pem: publicKey.export({ format: "pem", type: "spki" }),
    token(claims, header = {}) {
      const scope = "read write manage"
      const all = { scope, exp: inSeconds(60), ...claims }
      const message = `${encode({ alg, kid, ...header })}.${encode(all)}`
      return `${message}.${sign(message).toString("base64url")}`
    },
  }
}

export const bearer = (token) => ({ authorization: `Bearer ${token}` })
