// Keep the rows of a CSV file whose idValue stands in a list: what one would write with DuckDB.
//   node filter_duckdb.js THREADS LIST IN OUT
// DuckDB writes anew what it has read: quotes stand where it wants them.
const { DuckDBInstance } = require("@duckdb/node-api");

// A text as a literal of SQL.
function literal(text) {
  return "'" + text.replaceAll("'", "''") + "'";
}

// Runs the one statement that does it all; every column is text, so that nothing is rewritten.
async function main(threads, list, from, to) {
  const database = await DuckDBInstance.create(":memory:", { threads });
  const connection = await database.connect();
  await connection.run(`
    COPY (
      SELECT * FROM read_csv(${literal(from)}, header = true, all_varchar = true,
        delim = ',', quote = '"', escape = '"')
      WHERE idValue IN (
        SELECT key FROM read_csv(${literal(list)}, header = false, columns = { key: 'VARCHAR' },
          delim = '\t', quote = '', escape = ''))
    ) TO ${literal(to)} (FORMAT csv, HEADER)`);
  connection.closeSync();
}

main(...process.argv.slice(2));
