//! The modules of both crates import one way: no circles, nothing from a folder's own `mod.rs` inside that folder, and
//! between folders only what [`MAY_IMPORT`] says.
//!
//! Imports are read from the text of the files: `use` declarations and inline paths that begin with `crate`, `super`,
//! `self` or a module beside them. Tests may import anything, so what stands under `#[cfg(test)]` is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What each folder of valueattr-core may import from others.
const MAY_IMPORT: [(&str, &[&str]); 5] = [
    ("scan", &["scan::simd"]),
    (
        "scan::simd",
        &["scan::characters", "scan::folding", "scan::prefilter"],
    ),
    ("dump", &["scan"]),
    ("store", &[]),
    ("probe", &["store"]),
];

/// A module by its path from the root of its crate, which is the empty path.
type Module = Vec<String>;

#[derive(Debug, Default)]
struct Source {
    /// The tokens, without comments, strings and tests.
    tokens: Vec<String>,
    /// Whether it has modules of its own: a `mod.rs` or the root.
    is_folder: bool,
}

type Crate = BTreeMap<Module, Source>;

/// Which modules each module imports, itself left out.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn modules_of_the_core_import_one_way() {
    let sources = read_crate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 40, "{} modules are too few", sources.len());
    let imports = imports(&sources);
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(count > 100, "{count} imports are too few");
    let faults = faults(&sources, &imports, &MAY_IMPORT);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modules_of_the_binding_import_one_way() {
    let sources = read_crate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../valueattr-py/src"));
    let faults = faults(&sources, &imports(&sources), &[]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_way_to_import_is_seen() {
    for import in [
        "use crate::a::one::X;",
        "use super::one::X;",
        "pub use super::{two::Y, one::{self, X}};",
        "use super::one::*;",
        "fn f() { crate::a::one::g(); }",
        "type T = super::one::X;",
        "macro_rules! m { () => { $crate::a::one::g() } }",
        "use crate::{b, a::{one}};",
        "use super::{Y as Z, one::X as W};",
    ] {
        let sources = made_up(&[
            ("", "mod a; mod b;"),
            ("a", "mod one; mod two;"),
            ("a::one", ""),
            ("a::two", import),
            ("b", ""),
        ]);
        let found = &imports(&sources)[&module("a::two")];
        assert!(found.contains(&module("a::one")), "{import}: {found:?}");
    }
}

#[test]
fn comments_strings_and_tests_import_nothing() {
    for not_import in [
        "// use super::one::X;",
        "/* super::one::X */",
        "const T: &str = \"super::one::X\";",
        "const T: &str = r#\"super::\"one\"::X\"#;",
        "#[cfg(test)] mod tests { use super::super::one::X; fn f() { { super::one::X } } }",
        "#[cfg(test)] mod only_in_tests;",
    ] {
        let sources = made_up(&[
            ("", "mod a;"),
            ("a", "mod one; mod two;"),
            ("a::one", ""),
            ("a::two", not_import),
            ("a::two::only_in_tests", "use super::super::one::X;"),
        ]);
        let imports = imports(&sources);
        assert!(imports[&module("a::two")].is_empty(), "{not_import}");
    }
}

#[test]
fn circles_and_imports_from_the_folder_itself_are_faults() {
    let folder = ("a", "mod one; mod two; pub use one::X; pub struct Y;");
    for (one, two, fault) in [
        ("use super::two::Z;", "use super::one::X;", "circle"),
        ("use super::Y;", "", "its own folder"),
        ("", "use crate::a::X;", "its own folder"),
        ("", "use crate::b::Z;", "may not import"),
    ] {
        let sources = made_up(&[
            ("", "mod a; mod b;"),
            folder,
            ("a::one", one),
            ("a::two", two),
            ("b", "pub struct Z;"),
        ]);
        let found = faults(&sources, &imports(&sources), &[("a", &[]), ("b", &[])]);
        assert!(
            found.iter().any(|f| f.contains(fault)),
            "{fault}: {found:?}"
        );
    }
}

fn module(path: &str) -> Module {
    path.split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn made_up(files: &[(&str, &str)]) -> Crate {
    let of = |(path, text): &(&str, &str)| (module(path), source(text));
    without_tests(files.iter().map(of).collect())
}

fn read_crate(src: &Path) -> Crate {
    let mut found = Crate::new();
    read_folder(src, &Module::new(), &mut found);
    without_tests(found)
}

fn read_folder(folder: &Path, at: &Module, found: &mut Crate) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let mut module = at.clone();
        match name.expect("a name") {
            "lib" | "mod" => {}
            name => module.push(name.to_owned()),
        }
        if path.is_dir() {
            read_folder(&path, &module, found);
        } else {
            let text = fs::read_to_string(&path).expect("a source file");
            found.insert(module, source(&text));
        }
    }
}

fn source(text: &str) -> Source {
    Source {
        tokens: tokens(text),
        is_folder: false,
    }
}

/// Leaves out the modules that exist in tests only, and what is tested inside others.
fn without_tests(mut sources: Crate) -> Crate {
    let mut of_tests = Vec::new();
    for (module, source) in &mut sources {
        let mut kept = Vec::new();
        let mut rest = source.tokens.as_slice();
        while let Some(token) = rest.first() {
            if !starts_with(rest, &["#", "[", "cfg", "(", "test", ")", "]"]) {
                kept.push(token.clone());
                rest = &rest[1..];
                continue;
            }
            let item = &rest[7..];
            if let [keyword, name, end, ..] = item
                && keyword == "mod"
                && end == ";"
            {
                of_tests.push([module.as_slice(), std::slice::from_ref(name)].concat());
            }
            rest = &item[length_of_item(item)..];
        }
        source.is_folder = (kept.windows(3)).any(|three| three[0] == "mod" && three[2] == ";");
        source.tokens = kept;
    }
    sources.retain(|module, _| !of_tests.iter().any(|tests| module.starts_with(tests)));
    sources
}

fn starts_with(tokens: &[String], start: &[&str]) -> bool {
    tokens.len() >= start.len() && tokens.iter().zip(start).all(|(token, own)| token == own)
}

/// Tokens up to the semicolon, or the closing brace of the first block, with which an item ends.
fn length_of_item(tokens: &[String]) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            ";" if depth == 0 => return i + 1,
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Names, `::` and single marks; comments, strings, characters and lifetimes are dropped.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = length_of_string(rest) {
            length
        } else if c.is_alphanumeric() || c == '_' {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name: String = rest.chars().take_while(|&c| is_name(c)).collect();
            let length = name.len();
            found.push(name);
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                found.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// Bytes of the string, character or lifetime that begins here.
fn length_of_string(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    if let Some(raw) = rest.strip_prefix('r').or(rest.strip_prefix("br")) {
        let hashes = raw.bytes().take_while(|&b| b == b'#').count();
        if raw[hashes..].starts_with('"') {
            let from = rest.len() - raw.len() + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(from + rest[from..].find(&end)? + end.len());
        }
    }
    match bytes[0] {
        b'"' => {
            let mut at = 1;
            while bytes.get(at).is_some_and(|&b| b != b'"') {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            Some(at + 1)
        }
        b'\'' => {
            let mut chars = rest[1..].char_indices();
            let (_, first) = chars.next()?;
            if first == '\\' {
                let end = rest[3..].find('\'')?;
                return Some(3 + end + 1);
            }
            match chars.next()? {
                (at, '\'') => Some(1 + at + 1),
                _ => Some(1), // a lifetime, whose name is no path
            }
        }
        _ => None,
    }
}

fn imports(sources: &Crate) -> Imports {
    let of = |(module, source): (&Module, &Source)| {
        let mut found = BTreeSet::new();
        let tokens = &source.tokens;
        for at in 0..tokens.len() {
            // A path begins where no other goes on; that of a macro begins with `$crate`.
            let begins = at == 0 || tokens[at - 1] != "::";
            let in_use = at > 0 && tokens[at - 1] == "use";
            let is_relative = in_use && sources.contains_key(&child(module, &tokens[at]));
            let is_path = matches!(tokens[at].as_str(), "crate" | "super" | "self")
                && tokens.get(at + 1).is_some_and(|next| next == "::");
            if begins && (is_path || is_relative) {
                let mut paths = Vec::new();
                read_path(&tokens[at..], &[], &mut paths);
                for path in paths {
                    found.extend(resolve(sources, module, &path));
                }
            }
        }
        found.remove(module);
        (module.clone(), found)
    };
    sources.iter().map(of).collect()
}

fn child(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

/// The paths that begin here, braces written out; how many tokens they take.
fn read_path(tokens: &[String], head: &[String], paths: &mut Vec<Module>) -> usize {
    let mut path = head.to_vec();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at += read_path(&tokens[at..], &path, paths);
                    // A new name for what is imported.
                    let is_end = |token: &String| token == "," || token == "}";
                    at += tokens[at..].iter().position(is_end).unwrap_or(0);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "::" => at += 1,
            name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                // What follows a name without `::` is no longer the path.
                if at > 0 && tokens[at - 1] != "::" {
                    break;
                }
                path.push(name.to_owned());
                at += 1;
            }
            _ => break,
        }
    }
    paths.push(path);
    at
}

/// The module that a path leads into: the deepest on its way.
fn resolve(sources: &Crate, from: &Module, path: &[String]) -> Option<Module> {
    let mut at = match path.first().map(String::as_str) {
        Some("crate") => Module::new(),
        Some("super" | "self") => from.clone(),
        _ => child(from, path.first()?),
    };
    for (i, name) in path.iter().enumerate() {
        match name.as_str() {
            "super" => {
                at.pop()?;
            }
            "crate" | "self" => {}
            _ if i == 0 => {}
            name => {
                let next = child(&at, name);
                if !sources.contains_key(&next) {
                    break;
                }
                at = next;
            }
        }
    }
    sources.contains_key(&at).then_some(at)
}

fn faults(sources: &Crate, imports: &Imports, may_import: &[(&str, &[&str])]) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, targets) in imports {
        for to in targets {
            if from.starts_with(to) && sources[to].is_folder {
                faults.push(format!(
                    "{} imports from its own folder {}",
                    name(from),
                    name(to)
                ));
            }
        }
        faults.extend(folder_faults(from, targets, may_import));
    }
    faults.extend(circle(imports).map(|circle| {
        let names: Vec<String> = circle.iter().map(|module| name(module)).collect();
        format!("there is a circle: {}", names.join(" -> "))
    }));
    faults
}

fn name(module: &[String]) -> String {
    if module.is_empty() {
        "the crate's root".to_owned()
    } else {
        module.join("::")
    }
}

/// Imports that leave the module's folder for one that it may not import.
fn folder_faults(
    from: &Module,
    targets: &BTreeSet<Module>,
    may_import: &[(&str, &[&str])],
) -> Vec<String> {
    let within = |module: &Module, folder: &str| module.starts_with(&self::module(folder));
    let folder_of = |module: &Module| {
        let holding = may_import
            .iter()
            .filter(|(folder, _)| within(module, folder));
        holding.max_by_key(|(folder, _)| folder.len())
    };
    let Some((folder, allowed)) = folder_of(from) else {
        return Vec::new();
    };
    let is_fault = |to: &&Module| {
        folder_of(to).is_none_or(|(other, _)| other != folder)
            && !allowed.iter().any(|one| within(to, one))
    };
    let fault = |to: &Module| format!("{} may not import {}", name(from), name(to));
    targets.iter().filter(is_fault).map(fault).collect()
}

/// The first circle found.
fn circle(imports: &Imports) -> Option<Vec<Module>> {
    let mut done = BTreeSet::new();
    imports
        .keys()
        .find_map(|start| circle_from(start, imports, &mut Vec::new(), &mut done))
}

fn circle_from(
    at: &Module,
    imports: &Imports,
    way: &mut Vec<Module>,
    done: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(begin) = way.iter().position(|module| module == at) {
        return Some([&way[begin..], std::slice::from_ref(at)].concat());
    }
    if done.contains(at) {
        return None;
    }
    way.push(at.clone());
    let found = imports[at]
        .iter()
        .find_map(|next| circle_from(next, imports, way, done));
    way.pop();
    done.insert(at.clone());
    found
}
