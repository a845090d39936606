// What this isolate buffers on behalf of clients, in both directions: one budget for all of it. A tenant (a project), and
// within it a client address, may use no more than it leaves free for the others, so slow clients run out of room before
// anyone else does (dynamic thresholds, as switches share their buffers).
//
// Everything is counted from the moment it is buffered until it is released. An owner that
// buffers for long renews its hold; one that is not renewed belongs to a request or an object that the platform has ended without
// notice.

/** All of it. An isolate has 128 MB, and the module, its caches and V8 need the rest. */
export const BUDGET_MAX_BYTES = 64 << 20
/** What large holds leave to small ones, so that a few large bodies never keep small requests out. */
const RESERVED_BYTES = 16 << 20
/** The largest hold that counts as small. */
export const SMALL_MAX_BYTES = 512 << 10
/** What a hold takes at least: a connection and its bookkeeping. It bounds how many holds there are. */
const HOLD_MIN_BYTES = 1 << 10
/** When a hold that was not renewed ends: well above the longest time between two renewals. */
export const STALE_MS = 3 * 60_000

/** @typedef {{ large: number, small: number, addresses: Map<string, number> }} Tenant bytes in use; large ones by address, too */

export class Budget {
  #max
  #used = 0
  /** What of it small holds use. */
  #small = 0
  /** @type {Map<string, Tenant>} those that use anything */
  #tenants = new Map()
  /** @type {Set<Hold>} by their last renewal, the oldest first */
  #holds = new Set()

  constructor(maxBytes = BUDGET_MAX_BYTES) {
    this.#max = maxBytes
  }

  get used() {
    return this.#used
  }

  /** How much a large hold may take now. @param {string} tenant @param {string} address */
  room(tenant, address) {
    this.#expire()
    const { large = 0, addresses } = this.#tenants.get(tenant) ?? {}
    // Small holds first use what is theirs.
    const others = this.#used - Math.min(this.#small, RESERVED_BYTES)
    return Math.max(0, this.#max - others - RESERVED_BYTES - large - (addresses?.get(address) ?? 0))
  }

  /** How much room every client has, whatever the others use: all of it may be that client's own. */
  get leastRoom() {
    return Math.max(0, this.#max - RESERVED_BYTES - 3 * this.#used)
  }

  /** @param {string} tenant */
  #smallRoom(tenant) {
    return this.#max - this.#used - (this.#tenants.get(tenant)?.small ?? 0)
  }

  /**
   * Takes room, if there is any.
   * @param {number} bytes
   * @param {string} tenant
   * @param {string} address
   * @returns {Hold | undefined}
   */
  hold(bytes, tenant, address) {
    const hold = new Hold(this, tenant, address)
    return hold.resize(bytes) ? hold : undefined
  }

  /**
   * @param {Hold} hold @param {number} bytes @param {boolean} small
   * @returns {boolean} whether there is room; without it nothing changes
   */
  take(hold, bytes, small) {
    this.#expire()
    if (bytes > (small ? this.#smallRoom(hold.tenant) : this.room(hold.tenant, hold.address))) return false
    this.add(hold, bytes, small)
    return true
  }

  /** @param {Hold} hold @param {number} bytes @param {boolean} small */
  add(hold, bytes, small) {
    let tenant = this.#tenants.get(hold.tenant)
    if (tenant === undefined) this.#tenants.set(hold.tenant, (tenant = { large: 0, small: 0, addresses: new Map() }))
    this.#used += bytes
    if (small) {
      this.#small += bytes
      tenant.small += bytes
    } else {
      tenant.large += bytes
      tenant.addresses.set(hold.address, (tenant.addresses.get(hold.address) ?? 0) + bytes)
    }
    this.#holds.add(hold)
  }

  /** @param {Hold} hold @param {number} bytes @param {boolean} small */
  remove(hold, bytes, small) {
    const tenant = this.#tenants.get(hold.tenant)
    if (!this.#holds.delete(hold) || tenant === undefined) return
    this.#used -= bytes
    if (small) {
      this.#small -= bytes
      tenant.small -= bytes
    } else {
      tenant.large -= bytes
      const left = (tenant.addresses.get(hold.address) ?? 0) - bytes
      if (left > 0) tenant.addresses.set(hold.address, left)
      else tenant.addresses.delete(hold.address)
    }
    if (tenant.large === 0 && tenant.small === 0) this.#tenants.delete(hold.tenant)
  }

  /** Keeps a hold that is still there. @param {Hold} hold */
  renew(hold) {
    if (this.#holds.delete(hold)) this.#holds.add(hold)
  }

  #expire() {
    for (const hold of this.#holds) {
      if (Date.now() - hold.renewedAt < STALE_MS) return
      hold.release()
    }
  }
}

/** Room that is in use until it is released. */
class Hold {
  #budget
  #bytes = 0
  #small = true
  tenant
  address
  renewedAt = Date.now()

  /** @param {Budget} budget @param {string} tenant @param {string} address */
  constructor(budget, tenant, address) {
    this.#budget = budget
    this.tenant = tenant
    this.address = address
  }

  /**
   * Takes more room or less.
   * @param {number} bytes
   * @returns {boolean} whether it has as much; if not, nothing changes
   */
  resize(bytes) {
    const wanted = Math.max(bytes, HOLD_MIN_BYTES)
    const small = wanted <= SMALL_MAX_BYTES
    const [before, wasSmall] = [this.#bytes, this.#small]
    if (wanted === before && small === wasSmall) return true
    this.#leave()
    const taken = this.#budget.take(this, wanted, small)
    // What gives room back succeeds, also where small holds have none left.
    const mayTake = taken || wanted < before
    if (mayTake) {
      if (!taken) this.#budget.add(this, wanted, small)
      ;[this.#bytes, this.#small] = [wanted, small]
      this.renewedAt = Date.now()
    } else if (before > 0) {
      this.#budget.add(this, before, wasSmall)
      ;[this.#bytes, this.#small] = [before, wasSmall]
    }
    return mayTake
  }

  renew() {
    this.renewedAt = Date.now()
    this.#budget.renew(this)
  }

  release() {
    ofModule.delete(this)
    this.#leave()
  }

  #leave() {
    this.#budget.remove(this, this.#bytes, this.#small)
    this.#bytes = 0
  }
}

/** This isolate's. */
export const budget = new Budget()

/** @type {Set<Hold>} those of the module, which are gone with its memory */
const ofModule = new Set()

/** Takes room for the module. @param {number} bytes @param {string} tenant @param {string} address */
export function holdForModule(bytes, tenant, address) {
  const hold = budget.hold(bytes, tenant, address)
  if (hold !== undefined) ofModule.add(hold)
  return hold
}

/** The module has lost its memory, and what it held with it. */
export function releaseAllOfModule() {
  for (const hold of ofModule) hold.release()
  ofModule.clear()
}

export const leastRoom = () => budget.leastRoom

/** @param {string} tenant @param {string} address */
export const roomFor = (tenant, address) => budget.room(tenant, address)
