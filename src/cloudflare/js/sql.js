// Runs a statement with all its parameters in one call from Rust, instead of one or two calls for each parameter.

const TEXT = -2
const BLOB = -3

/**
 * @param {SqlStorage} sql
 * @param {string} statement
 * @param {Float64Array} params numbers, of which a negative one stands for the text, the blob, or null
 * @param {string | undefined} text
 * @param {Uint8Array | undefined} blob
 */
export function exec(sql, statement, params, text, blob) {
  const values = []
  for (const param of params) values.push(param >= 0 ? param : param === TEXT ? text : param === BLOB ? blob : null)
  return sql.exec(statement, ...values)
}
