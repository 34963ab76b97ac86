//! Faults for machines that show them beside the code: SARIF 2.1.0 and the commands of GitHub
//! workflows.

use kelson_model::code::{Area, Code};
use kelson_model::report::Validation;
use kelson_model::source::{Fault, Related};
use serde_json::{Value, json};

/// Where the pages of the codes stand.
const PAGES: &str = "docs/errors";
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// All faults as one log of SARIF 2.1.0.
pub(crate) fn sarif(validation: &Validation) -> Value {
    let rules: Vec<Value> = Code::of(Area::Manifests)
        .map(|code| {
            json!({
                "id": code.id(),
                "shortDescription": {"text": code.title()},
                "help": {"text": format!("{PAGES}/{}.md says more.", code.id())},
            })
        })
        .collect();
    let errors = validation.errors.iter().map(|fault| result(fault, "error"));
    let warnings = validation.warnings.iter();
    let warnings = warnings.map(|fault| result(fault, "warning"));
    let results: Vec<Value> = errors.chain(warnings).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "kelson validate",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(fault: &Fault, level: &str) -> Value {
    let mut result = json!({
        "ruleId": fault.code,
        "level": level,
        "message": {"text": sentence(fault)},
    });
    let Value::Object(map) = &mut result else {
        return result;
    };
    if let Some(index) = Code::of(Area::Manifests).position(|code| fault.code == code) {
        map.insert("ruleIndex".to_owned(), json!(index));
    }
    if fault.file.is_empty() {
        return result;
    }
    let location = json!({"physicalLocation": {
        "artifactLocation": artifact(&fault.file),
        "region": region(fault.line, fault.column, fault.end_line, fault.end_column),
    }});
    map.insert("locations".to_owned(), json!([location]));
    if !fault.related.is_empty() {
        let related: Vec<Value> = fault.related.iter().map(related).collect();
        map.insert("relatedLocations".to_owned(), json!(related));
    }
    if let Some(replacement) = &fault.replacement {
        let deleted = region(
            replacement.line,
            replacement.column,
            replacement.end_line,
            replacement.end_column,
        );
        let what = if replacement.certain {
            "What was meant"
        } else {
            "What was perhaps meant"
        };
        let fix = json!({
            "description": {"text": what},
            "artifactChanges": [{
                "artifactLocation": artifact(&fault.file),
                "replacements": [{
                    "deletedRegion": deleted,
                    "insertedContent": {"text": replacement.text},
                }],
            }],
        });
        map.insert("fixes".to_owned(), json!([fix]));
    }
    result
}

fn related(related: &Related) -> Value {
    json!({
        "physicalLocation": {
            "artifactLocation": artifact(&related.file),
            "region": region(related.line, related.column, 0, 0),
        },
        "message": {"text": related.message},
    })
}

/// A path as a reference of a URI.
fn artifact(file: &str) -> Value {
    let mut uri = String::new();
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    json!({"uri": uri, "uriBaseId": "%SRCROOT%"})
}

/// A region; places that are not known are left out. SARIF ends a region as we do, with the first
/// character behind it.
fn region(line: u32, column: u32, end_line: u32, end_column: u32) -> Value {
    let mut region = serde_json::Map::new();
    region.insert("startLine".to_owned(), json!(line.max(1)));
    if column > 0 {
        region.insert("startColumn".to_owned(), json!(column));
        if end_line > 0 {
            region.insert("endLine".to_owned(), json!(end_line));
            region.insert("endColumn".to_owned(), json!(end_column));
        }
    }
    Value::Object(region)
}

/// What is wrong and what to do.
fn sentence(fault: &Fault) -> String {
    if fault.hint.is_empty() {
        fault.message.clone()
    } else {
        format!("{}; {}", fault.message, fault.hint)
    }
}

/// All faults as commands of a GitHub workflow, a line each: `::error file=…`.
pub(crate) fn github(validation: &Validation) -> String {
    let mut text = String::new();
    let errors = validation.errors.iter().map(|fault| ("error", fault));
    let warnings = validation.warnings.iter().map(|fault| ("warning", fault));
    for (level, fault) in errors.chain(warnings) {
        let mut properties = Vec::new();
        if !fault.file.is_empty() {
            properties.push(format!("file={}", property(&fault.file)));
            if fault.line > 0 {
                properties.push(format!("line={}", fault.line));
                properties.push(format!("col={}", fault.column));
            }
            if fault.end_line > 0 {
                properties.push(format!("endLine={}", fault.end_line));
                // GitHub's last column is the last one that belongs to it.
                if fault.end_line == fault.line {
                    let last = fault.end_column.saturating_sub(1).max(fault.column);
                    properties.push(format!("endColumn={last}"));
                }
            }
        }
        let title = fault.code.known().map_or("", Code::title);
        properties.push(format!(
            "title={}",
            property(&format!("{}: {title}", fault.code))
        ));
        text.push_str(&format!(
            "::{level} {}::{}\n",
            properties.join(","),
            data(&sentence(fault))
        ));
    }
    text
}

/// A message, with what would end it or begin another command written otherwise.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A value of a property, which ends at a comma or a colon as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use kelson_model::source::Replacement;

    fn validation() -> Validation {
        let fault = Fault {
            line: 5,
            column: 3,
            end_line: 5,
            end_column: 12,
            related: vec![Related {
                file: "kelson/b.yaml".to_owned(),
                line: 2,
                column: 1,
                message: "here".to_owned(),
            }],
            replacement: Some(Replacement {
                line: 5,
                column: 3,
                end_line: 5,
                end_column: 12,
                text: "instances".to_owned(),
                certain: true,
            }),
            ..Fault::of_file(
                Code::UnknownField,
                "kelson/a b,c.yaml",
                "spec has no field `instnaces`\n::error::x",
                "did you mean `instances`?",
            )
        };
        Validation {
            api_version: "kelson/v1".to_owned(),
            kind: "Validation".to_owned(),
            valid: false,
            files: 1,
            objects: 0,
            errors: vec![fault, Fault::of_file(Code::TooManyFaults, "", "7 more", "")],
            warnings: vec![Fault::of_file(Code::Unlikely, "a.yaml", "a line", "")],
        }
    }

    #[test]
    fn sarif_has_places_other_places_and_what_to_write() {
        let log = sarif(&validation());
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let results = run["results"].as_array().map_or(0, Vec::len);
        assert_eq!(results, 3);
        assert_eq!(run["results"][0]["level"], "error");
        assert_eq!(run["results"][2]["level"], "warning");
        let first = &run["results"][0];
        let place = &first["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "kelson/a%20b%2Cc.yaml");
        let region = json!({"startLine": 5, "startColumn": 3, "endLine": 5, "endColumn": 12});
        assert_eq!(place["region"], region);
        let index = first["ruleIndex"].as_u64().unwrap_or_default() as usize;
        assert_eq!(
            run["tool"]["driver"]["rules"][index]["id"],
            Code::UnknownField.id()
        );
        assert_eq!(first["relatedLocations"][0]["message"]["text"], "here");
        let change = &first["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(change["deletedRegion"], region);
        assert_eq!(change["insertedContent"]["text"], "instances");
        assert!(run["results"][1].get("locations").is_none());
    }

    #[test]
    fn a_command_of_github_is_one_line_whatever_the_file_is_called() {
        assert_eq!(
            github(&validation()),
            "::error file=kelson/a b%2Cc.yaml,line=5,col=3,endLine=5,endColumn=11,\
             title=K0102%3A A field is not known::spec has no field `instnaces`%0A::error::x; \
             did you mean `instances`?\n\
             ::error title=K0126%3A More faults than are listed::7 more\n\
             ::warning file=a.yaml,title=K0129%3A A value is hardly what was meant::a line\n"
        );
    }
}
