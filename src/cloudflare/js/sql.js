// Runs a statement with its parameters in one call from Rust, instead of one or two for each.

const TEXT = -2
const BLOB = -3

/**
 * @param {SqlStorage} sql
 * @param {string} statement
 * @param {Float64Array} params numbers; one below zero stands for the text, the blob, or null
 * @param {string | undefined} text
 * @param {Uint8Array | undefined} blob
 */
export function exec(sql, statement, params, text, blob) {
  const values = []
  for (const param of params) values.push(param >= 0 ? param : param === TEXT ? text : param === BLOB ? blob : null)
  return sql.exec(statement, ...values)
}
