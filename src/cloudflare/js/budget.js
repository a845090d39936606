// The memory budget of this isolate for bytes buffered on behalf of clients, in both directions. Buffered bytes count from the
// moment they are buffered until they are released.
//
// A hold is a reservation in the budget. A tenant (a project) may hold no more than it leaves free, and neither may a client
// address within the tenant. Slow clients therefore run out of room before others do (dynamic thresholds, as in the shared
// buffers of switches). An owner renews a long hold; a hold that is not renewed belongs to a request or an object that the
// platform has ended without notice.

/** The whole budget. An isolate has 128 MB, and the module, its caches and V8 need the rest. */
export const BUDGET_MAX_BYTES = 64 << 20
/** The part that only small holds may use, so that a few large bodies never keep out small requests. */
const RESERVED_BYTES = 16 << 20
/** The largest hold that counts as small. */
export const SMALL_MAX_BYTES = 512 << 10
/** The least that a hold counts, for the connection and its bookkeeping. This bounds the number of holds. */
const HOLD_MIN_BYTES = 1 << 10
/** When a hold that was not renewed is released: well above the longest time between two renewals. */
export const STALE_MS = 3 * 60_000

/** @typedef {{ large: number, small: number, addresses: Map<string, number> }} Tenant bytes in use; large ones by address, too */

export class Budget {
  #max
  #used = 0
  /** The bytes of small holds in `#used`. */
  #small = 0
  /** @type {Map<string, Tenant>} the tenants with any holds */
  #tenants = new Map()
  /** @type {Set<Hold>} by their last renewal, the oldest first */
  #holds = new Set()

  constructor(maxBytes = BUDGET_MAX_BYTES) {
    this.#max = maxBytes
  }

  get used() {
    return this.#used
  }

  /** The largest hold that this client may take now, in bytes. @param {string} tenant @param {string} address */
  room(tenant, address) {
    this.#expire()
    const { large = 0, addresses } = this.#tenants.get(tenant) ?? {}
    // Small holds use the reserved part first.
    const others = this.#used - Math.min(this.#small, RESERVED_BYTES)
    return Math.max(0, this.#max - others - RESERVED_BYTES - large - (addresses?.get(address) ?? 0))
  }

  /** The room that every client has, in bytes. It assumes the worst case, in which the client holds all used bytes itself. */
  get leastRoom() {
    return Math.max(0, this.#max - RESERVED_BYTES - 3 * this.#used)
  }

  /** @param {string} tenant */
  #smallRoom(tenant) {
    return this.#max - this.#used - (this.#tenants.get(tenant)?.small ?? 0)
  }

  /**
   * Takes a hold, or returns undefined if there is no room.
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
   * @returns {boolean} whether there is room; if not, nothing changes
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

  /** Moves a hold to the end of the order of expiry. @param {Hold} hold */
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

/** Bytes reserved in a budget until they are released. */
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
   * Changes the size of the hold.
   * @param {number} bytes
   * @returns {boolean} whether there is room; if not, nothing changes
   */
  resize(bytes) {
    const wanted = Math.max(bytes, HOLD_MIN_BYTES)
    const small = wanted <= SMALL_MAX_BYTES
    const [before, wasSmall] = [this.#bytes, this.#small]
    if (wanted === before && small === wasSmall) return true
    this.#leave()
    const taken = this.#budget.take(this, wanted, small)
    // Shrinking always succeeds, even if the smaller size counts as small and small holds have no room left.
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

/** The budget of this isolate. */
export const budget = new Budget()

/** @type {Set<Hold>} the module's holds, to be released when the module loses its memory */
const ofModule = new Set()

/** Takes a hold for the module. @param {number} bytes @param {string} tenant @param {string} address */
export function holdForModule(bytes, tenant, address) {
  const hold = budget.hold(bytes, tenant, address)
  if (hold !== undefined) ofModule.add(hold)
  return hold
}

/** Releases the module's holds after the module has lost its memory. */
export function releaseAllOfModule() {
  for (const hold of ofModule) hold.release()
  ofModule.clear()
}

export const leastRoom = () => budget.leastRoom

/** @param {string} tenant @param {string} address */
export const roomFor = (tenant, address) => budget.room(tenant, address)
