// Keep the rows of a CSV file whose idValue stands in a list: what one would write with csv-parse.
//   node filter_csv_parse.js LIST IN OUT
// csv-parse tells the bytes of a record, of some without their line end.
const fs = require("fs");
const { parse } = require("csv-parse");
const { pipeline, Writable } = require("stream");

// Copies the header and the records kept.
function main(list, from, to) {
  const keys = new Set(fs.readFileSync(list, "latin1").split("\n"));
  const target = fs.openSync(to, "wx");
  let column = -1;
  const kept = new Writable({
    objectMode: true,
    write({ raw, record }, _, done) {
      const header = column < 0;
      if (header) column = record.indexOf("idValue");
      if (header || keys.has(record[column])) {
        fs.writeSync(target, raw.endsWith("\n") ? raw : raw + "\n", null, "latin1");
      }
      done();
    },
  });
  const source = fs.createReadStream(from, { highWaterMark: 1 << 20 });
  pipeline(source, parse({ raw: true, encoding: "latin1" }), kept, (problem) => {
    fs.closeSync(target);
    if (problem) throw problem;
  });
}

main(...process.argv.slice(2));
