// Makes tokens the way an application's server does, with nothing but Node.

import { createHmac, createSign, generateKeyPairSync, randomBytes, sign as signWith } from "node:crypto"

/** The token of a server in mode `token`. */
export const AUTH_TOKEN = randomBytes(24).toString("base64url")

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** The time in `seconds` from now, in seconds since 1970. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds

/** A new HS256 secret, as a JSON Web Key. */
export const secretKey = (kid = "1") => ({ kty: "oct", kid, k: randomBytes(32).toString("base64url") })

/** An HS256 token with these claims. `header` replaces parts of its header. */
export function makeToken(key, claims, header = {}) {
  const scope = "read write manage"
  const all = { scope, exp: inSeconds(60), ...claims }
  const message = `${encode({ alg: "HS256", kid: key.kid, ...header })}.${encode(all)}`
  return `${message}.${createHmac("sha256", Buffer.from(key.k, "base64url")).update(message).digest("base64url")}`
}

/** A new key pair: the public key as a JSON Web Key and as PEM, and a function that signs tokens with the private key. */
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
