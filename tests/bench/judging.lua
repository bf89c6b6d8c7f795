-- Whether what came out is right. Python's csv module is the judge, since it is written by others.
local lfs = require "lfs"

local file = require "native.file"
local programs = require "programs"
local running = require "running"

local judging = {}

---What makes the bench end with 1.
---@type string[]
judging.problems = {}

---Remembers a problem for the end.
function judging.complain(...)
  judging.problems[#judging.problems + 1] = string.format(...)
end

-- Reads a source to its end and tells its SHA-256.
local function digest(source)
  while source:read(1048576) do end -- luacheck: ignore 542
  return source:sha256()
end

---The SHA-256 of a file.
function judging.sha256(path)
  local source <close> = assert(file.source(path, { digest = true }))
  return digest(source)
end

---The SHA-256 of a text.
function judging.sha256_of_text(text)
  local source <close> = assert(file.text(text, "text", { digest = true }))
  return digest(source)
end

---Lets the judge filter; the path of what is right, until the next call.
function judging.judge(case)
  local out = running.FOLDER .. "/judged"
  running.run(programs.judge, setmetatable({ out = out }, { __index = case }))
  return out
end

---The SHA-256 of what is right, asked for once for each case.
function judging.expected(case)
  case.expected = case.expected or judging.sha256(judging.judge(case))
  return case.expected
end

---What there is to say about the bytes of a program of ours; other bytes are a problem.
function judging.verdict_on_ours(program, case)
  if judging.sha256(case.out) == judging.expected(case) then return "right" end
  judging.complain("%s on %s: other bytes than Python's", program.title, case.input)
  return "WRONG"
end

-- How the records of both files compare.
local function compare_records(right, out)
  return running.ask(running.words(programs.python_script("records.py", right, out))) or "no CSV"
end

-- What there is to say about a program that claims no more than the records.
local function verdict_on_records(program, right, out)
  local comparison = compare_records(right, out)
  if comparison == "same" then return "the same records; " .. program.caveat end
  if comparison == "another order" then
    return "the same records in another order; " .. program.caveat
  end
  judging.complain("%s: other records than Python's", program.title)
  return "OTHER RECORDS"
end

---What there is to say about the output of any program, given the file that is right.
function judging.verdict(program, case, right)
  if program == programs.judge then return "the judge" end
  if judging.sha256(case.out) == judging.sha256(right) then
    return program.keeps == "records" and "right bytes here, though it " .. program.caveat
      or "right, byte for byte"
  end
  if program.keeps == "records" then return verdict_on_records(program, right, case.out) end
  if program.keeps == "bytes" then
    judging.complain("%s: other bytes than Python's", program.title)
    return "WRONG"
  end
  local size = lfs.attributes(case.out, "size") - lfs.attributes(right, "size")
  return ("not right, %+d bytes: %s"):format(size, program.caveat)
end

return judging
