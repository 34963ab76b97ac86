//! Which files are manifests: the one rule, for commits and folders alike.
//!
//! Below `--path` if one is given, else below `kelson/` if it is there, else everywhere; `.yaml`
//! and `.yml`. Folders whose name starts with a dot are skipped, and so is what a `.kelsonignore`
//! names. The folder that holds the manifests is itself neither: it was chosen.

/// The folder that is used where there is one.
pub(super) const USUAL_FOLDER: &str = "kelson";

/// Tells whether a name is that of a manifest.
pub(super) fn is_manifest_name(name: &[u8]) -> bool {
    [&b".yaml"[..], b".yml"]
        .iter()
        .any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// Tells whether something that is no folder stands where manifests are looked for: one by its
/// name, or all of them in the place of the usual folder, which a link there would hide.
pub(super) fn is_looked_at(folder: &str, name: &[u8], is_link: bool) -> bool {
    is_manifest_name(name) || is_link && folder.is_empty() && name == USUAL_FOLDER.as_bytes()
}

/// Tells whether a folder is skipped by its name.
pub(super) fn is_skipped_folder(name: &[u8]) -> bool {
    name.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_told_by_their_ending() {
        for (name, wanted) in [
            ("a.yaml", true),
            ("a.yml", true),
            (".a.yaml", true),
            ("a.yaml.bak", false),
            ("yaml", false),
            (".yaml", false),
            ("a.YAML", false),
            ("a.json", false),
        ] {
            assert_eq!(is_manifest_name(name.as_bytes()), wanted, "{name}");
        }
    }
}
