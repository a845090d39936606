// Ends a vitest run with one plain line, `N passed, N failed, N skipped`, so that a program can read the log.

export default class PlainReporter {
  /**
   * @param {{ tests: number, filter: RegExp }} [minimum] the number of tests that must run with this name filter; a run with
   * another filter (`-t`) has no minimum
   */
  constructor(minimum) {
    this.minimum = minimum
  }

  /** @param {import("vitest/node").Vitest} vitest */
  onInit(vitest) {
    const { tests, filter } = this.minimum ?? {}
    this.least = filter?.source === vitest.config.testNamePattern?.source ? (tests ?? 0) : 0
  }

  /** @type {import("vitest/node").Reporter["onTestRunEnd"]} */
  onTestRunEnd(modules, unhandledErrors, reason) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      count.failed += module.errors().length
      for (const suite of module.children.allSuites()) count.failed += suite.errors().length
      for (const test of module.children.allTests()) count[test.result().state] += 1
    }
    if (count.passed + count.failed < this.least) {
      console.error(`only ${count.passed + count.failed} tests ran: at least ${this.least} are expected`)
      count.failed += 1
    }
    if (reason !== "passed" && count.failed === 0) count.failed = 1
    if (count.failed > 0) process.exitCode = 1
    console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  }
}
