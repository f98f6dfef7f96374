//! The wordings of a lexicon as a trie of folded words, and a filter before it.

use std::collections::HashMap;

use super::blocks::{Kernels, on_this_machine};
use super::folding::{NEVER, hash, hash_rest, is_same, key};
use super::pattern::Step;
use super::words::{Word, Words};

/// A node; the root is 0.
pub type NodeId = u32;

const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
pub struct Trie {
    nodes: Vec<Node>,
    /// Entries that end at a node, node after node.
    ends: Vec<u32>,
    /// Open addressing by node and word; `next` is [`ROOT`] where there is nothing.
    edges: Vec<Edge>,
    words: Vec<(u64, Box<str>)>,
    /// Words of the longest wording.
    longest: usize,
    ascii: bool,
    filter: Filter,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    any: NodeId,
    ends_from: u32,
    ends_to: u32,
    has_words: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Edge {
    hash: u32,
    node: NodeId,
    next: NodeId,
    word: u32,
}

/// Says of two words in a row whether a wording may begin with them. It never stops a wording.
#[derive(Debug, Clone)]
struct Filter {
    /// By the hash of the first word a set of hashes of the second; all if the first may stand alone or before any.
    seconds: Box<[u64; SECONDS]>,
    /// A set of hashes of both.
    pairs: Box<[u64; PAIRS]>,
}

const SECONDS: usize = 1 << 12;
const PAIRS: usize = 1 << 10;

impl Filter {
    #[allow(clippy::large_stack_arrays)] // once a lexicon
    fn new() -> Self {
        Self {
            seconds: Box::new([0; SECONDS]),
            pairs: Box::new([0; PAIRS]),
        }
    }

    fn insert(&mut self, first: u32, second: Option<u32>) {
        let seconds = &mut self.seconds[Self::slot(first)];
        match second {
            None => *seconds = u64::MAX,
            Some(second) => {
                *seconds |= 1 << (second & 63);
                let (slot, bit) = Self::pair(first, second);
                self.pairs[slot] |= 1 << bit;
            }
        }
    }

    /// The first test: one look-up in a table that fits the first-level cache.
    #[inline(always)]
    fn lets_pass(&self, first: u32, second: u32) -> bool {
        self.seconds[Self::slot(first)] >> (second & 63) & 1 == 1
    }

    /// The second, of the one word in ten or so that the first lets pass.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool)] // a branch would go wrong often
    fn surely_lets_pass(&self, first: u32, second: u32) -> bool {
        let (slot, bit) = Self::pair(first, second);
        (self.pairs[slot] >> bit & 1 == 1) | (self.seconds[Self::slot(first)] == u64::MAX)
    }

    #[inline(always)]
    fn slot(first: u32) -> usize {
        (first >> 20) as usize
    }

    #[inline(always)]
    fn pair(first: u32, second: u32) -> (usize, u32) {
        let both = (first.rotate_left(16) ^ second).wrapping_mul(0x9E37_79B1);
        ((both >> 22) as usize, both >> 16 & 63)
    }
}

/// What a trie is made of.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<(NodeId, Vec<u32>)>,
    edges: HashMap<(NodeId, u32), NodeId>,
    word_ids: HashMap<Box<str>, u32>,
    words: Vec<Box<str>>,
    beginnings: Vec<(u32, Option<u32>)>,
    longest: usize,
}

fn key_of(folded: &str) -> u64 {
    key(folded, 0, folded.len(), false)
}

impl Builder {
    pub fn new() -> Self {
        Self {
            nodes: vec![(ROOT, Vec::new())],
            ..Self::default()
        }
    }

    /// Adds a wording of an entry; wordings come in the order of the entries.
    pub fn insert(&mut self, wording: &[Step], entry: u32) {
        self.longest = self.longest.max(wording.len());
        let hash_of = |step: Option<&Step>| match step {
            Some(Step::Word(word)) => Some(hash(key_of(word))),
            _ => None,
        };
        if let Some(first) = hash_of(wording.first()) {
            self.beginnings.push((first, hash_of(wording.get(1))));
        }
        let mut node = ROOT;
        for step in wording {
            let fresh = id(self.nodes.len());
            let next = match step {
                Step::Any => {
                    let any = &mut self.nodes[node as usize].0;
                    if *any == ROOT {
                        *any = fresh;
                    }
                    *any
                }
                Step::Word(word) => {
                    let word = self.word_id(word);
                    *self.edges.entry((node, word)).or_insert(fresh)
                }
            };
            if next == fresh {
                self.nodes.push((ROOT, Vec::new()));
            }
            node = next;
        }
        let ends = &mut self.nodes[node as usize].1;
        if ends.last() != Some(&entry) {
            ends.push(entry);
        }
    }

    fn word_id(&mut self, word: &str) -> u32 {
        if let Some(&known) = self.word_ids.get(word) {
            return known;
        }
        let fresh = id(self.words.len());
        self.words.push(word.into());
        self.word_ids.insert(word.into(), fresh);
        fresh
    }

    pub fn build(self) -> Trie {
        let mut ends = Vec::new();
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for (any, of_node) in self.nodes {
            let ends_from = id(ends.len());
            ends.extend(of_node);
            nodes.push(Node {
                any,
                ends_from,
                ends_to: id(ends.len()),
                has_words: false,
            });
        }
        let mut edges = vec![Edge::default(); (2 * self.edges.len() + 1).next_power_of_two()];
        for ((node, word), next) in self.edges {
            nodes[node as usize].has_words = true;
            let text = &self.words[word as usize];
            let hash = hash(key_of(text)) ^ hash_rest(text);
            let mut at = slot(node, hash, edges.len());
            while edges[at].next != ROOT {
                at = (at + 1) & (edges.len() - 1);
            }
            edges[at] = Edge {
                hash,
                node,
                next,
                word,
            };
        }
        let mut filter = Filter::new();
        for (first, second) in self.beginnings {
            filter.insert(first, second);
        }
        Trie {
            ascii: self.words.iter().all(|word| word.is_ascii()),
            nodes,
            ends,
            edges,
            words: self
                .words
                .into_iter()
                .map(|word| (key_of(&word), word))
                .collect(),
            longest: self.longest,
            filter,
        }
    }
}

/// Lexicons are far smaller: `MOST_EXPANSIONS` a pattern, and a file that fits in memory.
#[allow(clippy::cast_possible_truncation)]
fn id(n: usize) -> u32 {
    n as u32
}

#[inline(always)]
fn slot(node: NodeId, hash: u32, edges: usize) -> usize {
    (hash ^ node.wrapping_mul(0x9E37_79B1)) as usize & (edges - 1)
}

impl Trie {
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Entries that end at a node, in the order of the lexicon.
    #[inline(always)]
    pub fn ends(&self, node: NodeId) -> &[u32] {
        let node = &self.nodes[node as usize];
        &self.ends[node.ends_from as usize..node.ends_to as usize]
    }

    /// Where a wording goes on after `node` with any word.
    #[inline(always)]
    pub fn step_any(&self, node: NodeId) -> Option<NodeId> {
        let any = self.nodes[node as usize].any;
        (any != ROOT).then_some(any)
    }

    /// Whether a wording goes on after `node`.
    #[inline(always)]
    pub fn goes_on(&self, node: NodeId) -> bool {
        let node = &self.nodes[node as usize];
        node.has_words || node.any != ROOT
    }

    /// Where a wording goes on after `node` with this word, of which the first bytes have this hash.
    #[inline]
    pub fn step(&self, node: NodeId, text: &str, word: Word, mut hash: u32) -> Option<NodeId> {
        let length = word.end - word.start;
        if length > 8 {
            hash ^= hash_rest(&text[word.start..word.end]);
        }
        let mut at = slot(node, hash, self.edges.len());
        loop {
            let edge = &self.edges[at];
            if edge.next == ROOT {
                return None;
            }
            if edge.hash == hash && edge.node == node {
                let (known_key, known) = &self.words[edge.word as usize];
                // A word of up to eight bytes is its key; with an apostrophe beyond ASCII it has more bytes.
                let same = *known_key == key(text, word.start, word.end, self.ascii)
                    && (length == known.len() && length <= 8
                        || is_same(&text[word.start..word.end], known));
                if same {
                    return Some(edge.next);
                }
            }
            at = (at + 1) & (self.edges.len() - 1);
        }
    }
}

/// Words of a text by hash, and those of them with which a wording may begin.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    hashes: Vec<u32>,
    found: Vec<u32>,
}

impl Candidates {
    pub fn found(&self) -> &[u32] {
        &self.found
    }

    pub fn hash(&self, word: usize) -> u32 {
        self.hashes[word]
    }
}

on_this_machine!(find_candidates: fn(trie: &Trie, text: &str, words: &Words, from: usize, to: usize, out: &mut Candidates) -> () = find);

/// Looks at the words `from..to` and, to know what follows them, at all behind them.
#[inline(always)]
fn find<C: Kernels>(
    trie: &Trie,
    text: &str,
    words: &Words,
    from: usize,
    to: usize,
    out: &mut Candidates,
) {
    let pairs = &words.pairs()[from..];
    out.hashes.resize(words.len() + 1, 0);
    out.found.resize(to - from + 1, 0);
    let hashes = &mut out.hashes[from..=words.len()];
    C::hashes(text, pairs, trie.ascii, &mut hashes[..pairs.len()]);
    hashes[pairs.len()] = hash(NEVER);

    let found = out.found.as_mut_slice();
    let mut filled = 0;
    for (word, (&first, &second)) in (id(from)..id(to)).zip(hashes.iter().zip(&hashes[1..])) {
        found[filled] = word;
        filled += usize::from(trie.filter.lets_pass(first, second));
    }
    let mut kept = 0;
    for i in 0..filled {
        let word = found[i];
        let at = word as usize - from;
        found[kept] = word;
        kept += usize::from(trie.filter.surely_lets_pass(hashes[at], hashes[at + 1]));
    }
    out.found.truncate(kept);
}
