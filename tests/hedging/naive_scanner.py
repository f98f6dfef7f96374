"""An obviously correct, slow scanner: what the compiled one must equal.

Texts are cut into words by the same definition, written again; every wording of every entry is compared with the words
at every position; the longest that its guards let pass is taken, from left to right, each kind for itself.
"""

import itertools
import re
import tomllib

APOSTROPHES = "'‘’‛ʼ＇"
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200C))
)
JOINERS = SPACES + ",-" + "".join(map(chr, range(0x2010, 0x2016)))
NOT_WORD = [
    (0x02BC, 0x02BC),
    (0x1680, 0x1680),
    (0x2000, 0x2BFF),
    (0x2E00, 0x2E7F),
    (0x3000, 0x303F),
    (0xFE10, 0xFE6F),
    (0xFF00, 0xFF0F),
    (0xFEFF, 0xFEFF),
    (0xFFF0, 0xFFFF),
    (0x1F000, 0x1FAFF),
]


def is_word(c):
    if ord(c) < 0x80:
        return c.isalnum()
    if c in "ªµº":
        return True
    return not (ord(c) <= 0xBF or c in "×÷" or any(a <= ord(c) <= b for a, b in NOT_WORD))


def fold(text):
    return "".join("'" if c in APOSTROPHES else (c.lower() if len(c.lower()) == 1 else c) for c in text)


def quotations(text):
    """(start, end) of what stands between double quotation marks, paragraph by paragraph."""
    found = []
    ends = [m.end() for m in re.finditer(rf"\n[{re.escape(SPACES)}]*\n", text)] + [len(text)]
    for start, end in itertools.pairwise([0, *ends]):
        i = start
        while i < end:
            opens = text[i] == "“" or (text[i] == '"' and not (i > 0 and is_word(text[i - 1])))
            close = re.compile('["”]').search(text, i + 1, end) if opens else None
            if close:
                found.append((i, close.start()))
            i = close.end() if close else i + 1
    return found


def words(text):
    """(start, end, sentence, joined, quoted) of each word."""
    found, i, sentence = [], 0, 0
    quoted = quotations(text)
    between = ""
    while i < len(text):
        if not is_word(text[i]):
            between += text[i]
            i += 1
            continue
        start = i
        while i < len(text) and (
            is_word(text[i]) or (text[i] in APOSTROPHES and i + 1 < len(text) and is_word(text[i + 1]))
        ):
            i += 1
        blank = re.search(rf"\n[{re.escape(SPACES)}]*?\n", between) is not None
        ended = (
            blank
            or re.search(rf"[.!?…][.!?…\"”)\]*_{APOSTROPHES}]*[{re.escape(SPACES)}]", between) is not None
        )
        if ended and found:
            sentence += 1
        joined = bool(found) and not ended and all(c in JOINERS for c in between)
        found.append((start, i, sentence, joined, any(a < start < b for a, b in quoted)))
        between = ""
    return found


def wordings(pattern):
    parts = re.findall(r"\{[^}]*\}|\[[^\]]*\]|<[^>]*>|[^{\[<]+", pattern)
    choices = []
    for part in parts:
        if part[0] in "{[":
            given = [literal(p) for p in part[1:-1].split("|")]
            choices.append(given + ([[]] if part[0] == "[" else []))
        elif part[0] == "<":
            low, high = map(int, part[1:-1].split("-"))
            choices.append([[None] * n for n in range(low, high + 1)])
        else:
            choices.append([literal(part)])
    return {tuple(itertools.chain(*combination)) for combination in itertools.product(*choices)}


def literal(text):
    return [fold(text[a:b]) for a, b, *_ in words(text)]


def asks(text, found, at):
    """Whether the sentence that a word is in ends with a question mark."""
    sentence = found[at][2]
    last = max(k for k in range(len(found)) if found[k][2] == sentence)
    after = text[found[last][1] : found[last + 1][0] if last + 1 < len(found) else len(text)]
    blank = re.search(rf"\n[{re.escape(SPACES)}]*?\n", after)
    end = "" if last + 1 < len(found) else "|$"
    closing = re.search(rf"[.!?…][.!?…\"”)\]*_{APOSTROPHES}]*(?=[{re.escape(SPACES)}]{end})", after)
    if closing is None or (blank is not None and blank.end() <= closing.start()):
        return False
    return "?" in closing.group()


def guarded(entry, text, folded, found, first, last):
    """Whether a guard says that the phrase does not count."""
    guards = entry.get("guards", [])
    if "question" in guards and asks(text, found, first):
        return True
    if "quotation" in guards and found[first][4]:
        return True
    if "negation" in guards:
        for k in range(max(0, first - 2), first):
            if found[k][2] == found[first][2] and (
                folded[k] in ("not", "never", "no", "cannot") or folded[k].endswith("n't")
            ):
                return True

    def listed(names, word):
        return word in [fold(n) for n in names] or ("#" in names and word[0] in "0123456789")

    if entry.get("unless_before") and found[first][3] and listed(entry["unless_before"], folded[first - 1]):
        return True
    after = last + 1 < len(found) and found[last + 1][3]
    return bool(entry.get("unless_after") and after and listed(entry["unless_after"], folded[last + 1]))


def scan(lexicon, text):
    """(kind, entry, start, end) in the order of start, for a lexicon's source."""
    entries = tomllib.loads(lexicon)["entry"]
    expanded = [wordings(entry["pattern"]) for entry in entries]
    found = words(text)
    folded = [fold(text[a:b]) for a, b, *_ in found]
    spans = []
    for kind in dict.fromkeys(entry["kind"] for entry in entries):
        first = 0
        while first < len(found):
            best = None
            for number, entry in enumerate(entries):
                if entry["kind"] != kind:
                    continue
                for wording in expanded[number]:
                    last = first + len(wording) - 1
                    if last >= len(found) or not all(found[k][3] for k in range(first + 1, last + 1)):
                        continue
                    if not all(w is None or w == folded[first + k] for k, w in enumerate(wording)):
                        continue
                    if guarded(entry, text, folded, found, first, last):
                        continue
                    if best is None or (last, -number) > (best[0], -best[1]):
                        best = (last, number)
            if best is None:
                first += 1
            else:
                spans.append((kind, entries[best[1]]["pattern"], found[first][0], found[best[0]][1]))
                first = best[0] + 1
    return sorted(spans, key=lambda span: (span[2], span[0], span[3]))
