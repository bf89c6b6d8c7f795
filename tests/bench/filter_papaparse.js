// Keep the rows of a CSV file whose idValue stands in a list: what one would write with Papa Parse.
//   node filter_papaparse.js LIST IN OUT
// Papa Parse doesn't tell the bytes of a row: what is kept is written anew.
const fs = require("fs");
const papa = require("papaparse");

// Copies the header and the rows kept, a chunk at a time.
function main(list, from, to) {
  const keys = new Set(fs.readFileSync(list, "latin1").split("\n"));
  const target = fs.openSync(to, "wx");
  let column = -1;
  papa.parse(fs.createReadStream(from, { encoding: "latin1", highWaterMark: 1 << 20 }), {
    chunk({ data }) {
      const kept = data.filter((row) => {
        if (column >= 0) return keys.has(row[column]);
        column = row.indexOf("idValue");
        return true;
      });
      if (kept.length === 0) return;
      fs.writeSync(target, papa.unparse(kept, { newline: "\n" }) + "\n", null, "latin1");
    },
    complete() { fs.closeSync(target); },
    error(problem) { throw problem; },
  });
}

main(...process.argv.slice(2));
