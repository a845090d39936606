// Cloudflare's list prices, in dollars, as of November 2026:
// https://developers.cloudflare.com/workers/platform/pricing/
// https://developers.cloudflare.com/durable-objects/platform/pricing/
// https://developers.cloudflare.com/r2/pricing/
// https://developers.cloudflare.com/kv/platform/pricing/
// https://developers.cloudflare.com/d1/platform/pricing/

const MILLION = 1e6

/**
 * @typedef {object} Price of a meter
 * @property {number} dollars
 * @property {number} per this many units
 * @property {number} included in the paid plan, per month
 */

/** @type {Record<string, Price>} */
export const prices = {
  workerRequests: { dollars: 0.3, per: MILLION, included: 10e6 },
  workerCpuMs: { dollars: 0.02, per: MILLION, included: 30e6 },
  objectRequests: { dollars: 0.15, per: MILLION, included: 1e6 },
  objectGbSeconds: { dollars: 12.5, per: MILLION, included: 400_000 },
  rowsWritten: { dollars: 1, per: MILLION, included: 50e6 },
  rowsRead: { dollars: 0.001, per: MILLION, included: 25e9 },
  bucketClassA: { dollars: 4.5, per: MILLION, included: 0 },
  kvReads: { dollars: 0.5, per: MILLION, included: 10e6 },
  bucketClassB: { dollars: 0.36, per: MILLION, included: 0 },
  mirrorRowsWritten: { dollars: 1, per: MILLION, included: 50e6 },
}

/** The price of the paid plan per month. */
export const PLAN_DOLLARS = 5

/** The memory that Cloudflare bills for an object while it is awake, whatever it uses: 128 MB. */
export const OBJECT_GB = 0.128

/** Cloudflare bills this many incoming socket messages as one request to the object. */
export const SOCKET_MESSAGES_A_REQUEST = 20
