/** Light colours for code: comments, strings, numbers and keywords of the common languages. No parser. */

const words = (text) => new Set(text.trim().split(/\s+/));

const C_LIKE = words(`
  abstract as async await bool boolean break case catch char class const constexpr continue default defer delete
  do double else enum export extends extern false final finally float fn for from func function go goto if impl
  implements import in inline instanceof int interface let long loop match mod mut namespace new nil null nullptr
  of override package private protected pub public readonly return self short signed sizeof static struct super
  switch template this throw trait true try type typedef typename typeof undefined union unsafe unsigned use using
  var virtual void volatile where while yield
`);
const PYTHON = words(`
  False None True and as assert async await break case class continue def del elif else except finally for from
  global if import in is lambda match nonlocal not or pass raise return self try while with yield
`);
const SHELL = words(`
  case do done elif else esac export fi for function if in local return set then until while cd echo exit source
`);
const SQL = words(`
  add all alter and any as asc between by case check column constraint create cross default delete desc distinct
  drop else end exists false foreign from full group having if in index inner insert into is join key left like
  limit not null offset on or order outer primary references right select set table then true union unique update
  values view when where with
`);
const RUBY = words(`
  begin class def do else elsif end ensure false if in module nil not or and rescue return self then true unless
  until when while yield require
`);

const SLASHES = "\\/\\/[^\\n]*|\\/\\*[\\s\\S]*?(?:\\*\\/|$)";
const HASH = "(?<![\\w$&])#[^\\n]*";
const QUOTES = "\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?";
const TRIPLE = '"""[\\s\\S]*?(?:"""|$)|' + "'''[\\s\\S]*?(?:'''|$)|";
const BACKTICK = "|`(?:\\\\.|[^`\\\\])*`?";

const family = (comment, string, keywords) => ({
  pattern: new RegExp(`(${comment})|(${string})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g"),
  keywords,
});

const FAMILIES = [
  [family(SLASHES, QUOTES + BACKTICK, C_LIKE), "c cpp c++ cs csharp cuda dart go java javascript js jsx kotlin kt php rust rs scala swift ts tsx typescript zig"],
  [family(HASH, TRIPLE + QUOTES, PYTHON), "py python python3 starlark"],
  [family(HASH, QUOTES, SHELL), "bash console dockerfile sh shell zsh"],
  [family("--[^\\n]*|\\/\\*[\\s\\S]*?(?:\\*\\/|$)", QUOTES, SQL), "mysql postgresql sql sqlite"],
  [family(HASH, QUOTES, RUBY), "elixir rb ruby"],
  [family(HASH, QUOTES, words("true false null yes no on off")), "ini toml yaml yml"],
  [family("(?!)", QUOTES, words("true false null")), "json jsonc json5"],
  [family("<!--[\\s\\S]*?(?:-->|$)", QUOTES, new Set()), "html xml svg vue"],
  [family("\\/\\*[\\s\\S]*?(?:\\*\\/|$)", QUOTES, new Set()), "css scss less"],
];

const BY_NAME = new Map(FAMILIES.flatMap(([found, names]) => names.split(" ").map((name) => [name, found])));
const CLASSES = ["comment", "string", "number"];
/** Longer code stays plain: colour is not worth a wait. */
const LIMIT = 40_000;

/** Colours the text of an element in place. */
export function highlight(element, language) {
  const found = BY_NAME.get(language.toLowerCase());
  const text = element.textContent;
  if (!found || text.length > LIMIT) return;
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(found.pattern)) {
    const kind = kindOf(match, found.keywords);
    if (!kind) continue;
    parts.push(text.slice(last, match.index), colored(match[0], kind));
    last = match.index + match[0].length;
  }
  element.replaceChildren(...parts, text.slice(last));
}

function kindOf(match, keywords) {
  const group = CLASSES.findIndex((_, index) => match[index + 1] !== undefined);
  if (group >= 0) return CLASSES[group];
  // SQL is written in either case; in other languages a keyword in capitals is a name.
  const known = keywords.has(match[0]) || (keywords === SQL && keywords.has(match[0].toLowerCase()));
  return known ? "keyword" : null;
}

function colored(text, kind) {
  const span = document.createElement("span");
  span.className = `tok-${kind}`;
  span.textContent = text;
  return span;
}
