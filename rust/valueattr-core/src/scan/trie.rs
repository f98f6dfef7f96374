//! The wordings of a lexicon as a trie of folded words.

use std::collections::HashMap;

use super::folding::{hash, is_same, key};
use super::index::{TooMany, small};
use super::kind::Kind;
use super::pattern::Element;
use super::prefilter::Prefilter;
use super::words::Word;

/// Where a node lies in the table; the root is at 0.
pub type NodeId = u32;

pub const ROOT: NodeId = 0;

#[derive(Debug, Clone)]
pub struct Trie {
    /// Open addressing by parent and word: a step reads one cache line.
    nodes: Vec<Node>,
    /// What ends at a node, node after node.
    ends: Vec<End>,
    /// `shift` leads from a hash to a place in the table; `mask` from the place behind the last to the first.
    shift: u32,
    mask: u32,
    words: Vec<Box<str>>,
    /// The number of words in the longest wording.
    longest: usize,
    ascii: bool,
    filter: Prefilter,
}

/// A node and the edge that leads to it.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Node {
    key: u64,
    /// The index of the word.
    word: u32,
    /// [`NOWHERE`] where there is no node.
    parent: NodeId,
    /// Where a wording goes on with any word; [`ROOT`] if none does.
    any: NodeId,
    ends_from: u32,
    ends_to: u32,
    /// The words with which a wording goes on, each as the bit of its hash's lowest bits.
    onward: u16,
    /// Whether the key is all of the word: of at most eight bytes, and ASCII.
    is_key: bool,
}

impl Node {
    const EMPTY: Self = Self {
        key: NO_WORD,
        word: 0,
        parent: NOWHERE,
        any: ROOT,
        ends_from: 0,
        ends_to: 0,
        onward: 0,
        is_key: false,
    };
}

/// Key of no word: not UTF-8.
const NO_WORD: u64 = u64::MAX;
const NOWHERE: NodeId = u32::MAX;

/// An entry that ends at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub entry: u32,
    pub kind: Kind,
    pub guarded: bool,
}

/// What a trie is made of.
#[derive(Debug)]
pub struct Builder {
    /// Parents before their children.
    nodes: Vec<Draft>,
    edges: HashMap<(u32, u32), u32>,
    word_ids: HashMap<Box<str>, u32>,
    words: Vec<Box<str>>,
    filter: Prefilter,
    longest: usize,
}

/// A node by its number, not its place.
#[derive(Debug, Default)]
struct Draft {
    parent: u32,
    /// The word that leads to it, or any.
    word: Option<u32>,
    any: u32,
    ends: Vec<End>,
}

fn key_of(folded: &str) -> u64 {
    key(folded, 0, folded.len(), false)
}

impl Builder {
    pub fn new() -> Self {
        Self {
            nodes: vec![Draft::default()],
            edges: HashMap::new(),
            word_ids: HashMap::new(),
            words: Vec::new(),
            filter: Prefilter::new(),
            longest: 0,
        }
    }

    /// Adds a wording of an entry; wordings come in the order of the entries.
    pub fn insert(&mut self, wording: &[Element], end: End) -> Result<(), TooMany> {
        self.longest = self.longest.max(wording.len());
        let hash_of = |element: Option<&Element>| match element {
            Some(Element::Word(word)) => Some(hash(key_of(word))),
            _ => None,
        };
        if let Some(first) = hash_of(wording.first()) {
            self.filter.insert(first, hash_of(wording.get(1)));
        }
        let mut node = 0;
        for element in wording {
            let fresh = small(self.nodes.len())?;
            let (next, word) = match element {
                Element::Any => {
                    let any = &mut self.nodes[node as usize].any;
                    if *any == 0 {
                        *any = fresh;
                    }
                    (*any, None)
                }
                Element::Word(word) => {
                    let word = self.word_id(word)?;
                    let next = *self.edges.entry((node, word)).or_insert(fresh);
                    (next, Some(word))
                }
            };
            if next == fresh {
                self.nodes.push(Draft {
                    parent: node,
                    word,
                    ..Draft::default()
                });
            }
            node = next;
        }
        let ends = &mut self.nodes[node as usize].ends;
        if ends.last() != Some(&end) {
            ends.push(end);
        }
        Ok(())
    }

    fn word_id(&mut self, word: &str) -> Result<u32, TooMany> {
        if let Some(&known) = self.word_ids.get(word) {
            return Ok(known);
        }
        let fresh = small(self.words.len())?;
        self.words.push(word.into());
        self.word_ids.insert(word.into(), fresh);
        Ok(fresh)
    }

    pub fn build(self) -> Result<Trie, TooMany> {
        let room = small((2 * self.nodes.len()).next_power_of_two())?;
        let mut trie = Trie {
            nodes: vec![Node::EMPTY; room as usize],
            shift: u32::BITS - room.ilog2(),
            mask: room - 1,
            ends: Vec::new(),
            ascii: self.words.iter().all(|word| word.is_ascii()),
            words: self.words,
            longest: self.longest,
            filter: self.filter,
        };
        let mut places: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        for draft in self.nodes {
            let mut node = Node {
                ends_from: small(trie.ends.len())?,
                ..Node::EMPTY
            };
            trie.ends.extend(draft.ends);
            node.ends_to = small(trie.ends.len())?;
            let mut at = ROOT;
            node.parent = ROOT;
            if let Some(&parent) = places.get(draft.parent as usize) {
                node.parent = parent;
                let mut hash_of_word = 0;
                if let Some(word) = draft.word {
                    let text = &trie.words[word as usize];
                    node.key = key_of(text);
                    hash_of_word = hash(node.key);
                    node.word = word;
                    node.is_key = text.len() <= 8 && text.is_ascii();
                }
                at = trie.slot(parent, hash_of_word);
                while trie.nodes[at as usize].parent != NOWHERE {
                    at = trie.after(at);
                }
                let parent = &mut trie.nodes[parent as usize];
                match draft.word {
                    Some(_) => parent.onward |= 1 << (hash_of_word & 15),
                    None => parent.any = at,
                }
            }
            trie.nodes[at as usize] = node;
            places.push(at);
        }
        Ok(trie)
    }
}

impl Trie {
    pub fn longest(&self) -> usize {
        self.longest
    }

    pub fn filter(&self) -> &Prefilter {
        &self.filter
    }

    /// Whether no word of the lexicon has a letter beyond ASCII.
    pub fn is_ascii(&self) -> bool {
        self.ascii
    }

    /// What ends at a node, in the order of the lexicon.
    #[inline(always)]
    pub fn ends(&self, node: NodeId) -> &[End] {
        let node = &self.nodes[node as usize];
        &self.ends[node.ends_from as usize..node.ends_to as usize]
    }

    /// Where a wording goes on after `node` with any word.
    #[inline(always)]
    pub fn step_any(&self, node: NodeId) -> Option<NodeId> {
        let any = self.nodes[node as usize].any;
        (any != ROOT).then_some(any)
    }

    /// Whether a wording may go on after `node` with a word of this hash.
    #[inline(always)]
    pub fn may_step(&self, node: NodeId, hash: u32) -> bool {
        self.nodes[node as usize].onward >> (hash & 15) & 1 == 1
    }

    /// Where a wording goes on after `node` with this word, of which the key has this hash.
    #[inline]
    pub fn step(&self, node: NodeId, text: &str, word: Word, hash: u32) -> Option<NodeId> {
        let key = key(text, word.start, word.end, self.ascii);
        let mut at = self.slot(node, hash);
        loop {
            let next = &self.nodes[at as usize];
            // With an apostrophe beyond ASCII a word has more bytes than its key.
            if next.key == key
                && next.parent == node
                && (next.is_key && word.end - word.start <= 8
                    || is_same(&text[word.start..word.end], &self.words[next.word as usize]))
            {
                return Some(at);
            }
            if next.parent == NOWHERE {
                return None;
            }
            at = self.after(at);
        }
    }

    #[inline(always)]
    fn slot(&self, node: NodeId, hash: u32) -> NodeId {
        (hash ^ node.wrapping_mul(0x9E37_79B1)) >> self.shift
    }

    #[inline(always)]
    fn after(&self, slot: NodeId) -> NodeId {
        (slot + 1) & self.mask
    }
}
