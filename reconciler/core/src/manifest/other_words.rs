//! Words that other systems have for what stands in a specification, and what to do here instead.

/// What a word of another system comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// A field of the specification has another name; dotted, without `spec`.
    Named(&'static str),
    /// It is done otherwise, or not at all; a sentence that says which.
    Otherwise(&'static str),
}

/// What a word of another system comes to where an object runs a program. Said of any kind that
/// does: only what is true whatever its framework decides.
pub(crate) fn of_word(word: &str) -> Option<Elsewhere> {
    use Elsewhere::{Named, Otherwise};
    let word: String = word
        .chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect();
    Some(match word.as_str() {
        "replicas" | "count" | "scale" | "instance" => Named("instances"),
        "environment" | "variables" => Named("run.env"),
        "envfrom" | "envfile" => Otherwise(
            "there are no files of variables: write each below spec.run.env, or lay a file with \
             spec.run.files",
        ),
        "entrypoint" | "cmd" | "exec" | "executable" | "program" => Named("run.command"),
        "arguments" | "argv" => Named("run.args"),
        "workingdir" | "workdirectory" | "cwd" | "dir" => Named("run.workdir"),
        "configs" | "configmap" | "configmaps" => Named("run.files"),
        "livenessprobe" | "healthcheck" | "healthchecks" | "liveness" => Named("health"),
        "readinessprobe" | "ready" => Named("readiness"),
        "startupprobe" | "startperiod" | "initialdelayseconds" => Named("health.grace"),
        "cpu" => Named("resources.cpus"),
        "mem" | "ram" | "memlimit" => Named("resources.memory"),
        "strategy" | "updateconfig" | "rollingupdate" | "deploy" => Named("update"),
        "terminationgraceperiodseconds" | "stopgraceperiod" | "killtimeout" => Named("stop.grace"),
        "stopsignal" | "killsignal" => Named("stop.signal"),
        "containerport" | "targetport" | "hostport" | "nodeport" | "published" | "expose" => {
            Named("ports[].port")
        }
        "protocol" => Otherwise("leave it out: a port is a number, whatever is spoken there"),
        "limits" | "requests" | "reservations" => Otherwise(
            "one amount is both what is taken and what is allowed: write spec.resources.cpus, \
             memory and disk",
        ),
        "image" | "imagepullpolicy" | "imagepullsecrets" | "build" | "dockerfile" => Otherwise(
            "there are no images: name a program of the machine at spec.run.command, and lay its \
             files with spec.run.files",
        ),
        "container" | "containers" | "template" | "initcontainers" | "sidecars" => Otherwise(
            "an object runs one program, which spec.run says; another program is another object",
        ),
        "volumes" | "volume" | "volumemounts" | "mounts" | "tmpfs" | "volumeclaimtemplates" => {
            Otherwise(
                "there are no volumes: each task has a directory of its own, with files from \
                 spec.run.files and the room of spec.resources.disk",
            )
        }
        "dependson" | "links" | "after" | "requires" => Otherwise(
            "leave it out: nothing waits for another object; a program asks again until what it \
             needs answers",
        ),
        "networks" | "network" | "networkmode" | "hostnetwork" | "dns" => Otherwise(
            "leave it out: tasks use the network of their machine; their ports stand at spec.ports",
        ),
        "restartpolicy" | "autorestart" => Otherwise(
            "leave it out: what becomes of a task that ends is decided by the framework of its kind",
        ),
        "selector" | "matchlabels" => {
            Otherwise("leave it out: an object has its own tasks and needs not find them")
        }
        "nodeselector" | "affinity" | "tolerations" | "constraints" | "placement" => Otherwise(
            "this is not built: a task goes to an agent with room for its spec.resources and ports",
        ),
        "user" | "serviceaccount" | "serviceaccountname" | "securitycontext" | "privileged"
        | "runasuser" => Otherwise("this is not built: tasks run as the user of their agent"),
        "secrets" | "secret" => Otherwise(
            "secrets are not built: let the program read them from where they are kept, and write \
             none into a manifest",
        ),
        "logging" | "logs" => Otherwise(
            "leave it out: what a task prints is kept within bounds, and `kelson logs` shows it",
        ),
        _ => return None,
    })
}

/// The kind that is nearest to what another system's kind does.
pub(crate) fn of_kind(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" | "Pod" => Some("Service"),
        _ => None,
    }
}

/// What to do about the word of another system for a field of `metadata`.
pub(crate) fn of_metadata(word: &str) -> Option<&'static str> {
    match word {
        "annotations" | "tags" => Some("write it as labels: below metadata.labels, each a text"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_however_it_is_spelt() {
        for word in ["working_dir", "workingDir", "WORKING-DIR"] {
            assert_eq!(of_word(word), Some(Elsewhere::Named("run.workdir")));
        }
        assert_eq!(of_word("frobnicate"), None);
    }
}
