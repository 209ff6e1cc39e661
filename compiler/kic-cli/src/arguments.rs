//! What the command line takes.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

use kic::{GatherOptions, LockMode, Request, Settings};
use kic_base::{Epoch, ImageReference};
use kic_diag::Diagnostics;

use crate::commands;
use crate::world::source_date_epoch;

/// A compiler for cluster images: a Kubernetes cluster described in KDL becomes one OCI image.
#[derive(Debug, Parser)]
#[command(
    name = "kic",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print for people, or as JSON for machines
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub format: Format,
    /// Print no progress, and of a result only what a script needs
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell what happens; twice for more, on standard error
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours: when standard error is a terminal, always, or never
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// The store; else the environment's KIC_STORE, else kic in the user's cache folder
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// How results are printed. Those that are hidden are for `kic graph` alone, which shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Human,
    /// JSON for machines.
    Json,
    /// A graph for Graphviz.
    #[value(hide = true)]
    Dot,
    /// A graph for Mermaid, which many Markdown readers draw.
    #[value(hide = true)]
    Mermaid,
    /// A graph as a picture.
    #[value(hide = true)]
    Svg,
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What commands take that talk to registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// Use no network: what is not in the store is an error
    #[arg(long)]
    pub offline: bool,
    /// Speak plain http to this registry (loopback hosts need no such word)
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    pub insecure_registry: Vec<String>,
    /// Ask this mirror before the registry itself; the digest still decides
    #[arg(long, value_name = "HOST=URL", value_parser = mirror)]
    pub registry_mirror: Vec<(String, String)>,
    /// Trust the certificate authorities in this PEM file, too
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,
    /// Connections to one host at a time
    #[arg(long, value_name = "N", default_value_t = 12, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
}

fn host(text: &str) -> Result<String, String> {
    if ImageReference::is_registry(text) {
        return Ok(text.to_owned());
    }
    Err("write HOST or HOST:PORT, such as registry.example.com:5000, without a user and password".to_owned())
}

fn mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((host, url)) if !host.is_empty() && !url.is_empty() => {
            let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
            Ok((host.to_owned(), url))
        }
        _ => Err("write HOST=URL, such as docker.io=https://mirror.example.com".to_owned()),
    }
}

/// What commands take that build.
#[derive(Debug, Clone, Args)]
pub struct Building {
    /// The spec, or a folder that holds a `cluster.kdl`
    #[arg(value_name = "SPEC", default_value = "cluster.kdl")]
    pub spec: PathBuf,
    /// Layers to build at a time; as many as there are cores when left out
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// A value for a parameter that the spec declares
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// An image that may be missing in the cluster: a warning says so, where it would be an error
    #[arg(long, value_name = "REF")]
    pub allow_missing: Vec<ImageReference>,
    #[command(flatten)]
    pub network: Network,
}

impl Building {
    /// What to compile, with no output.
    ///
    /// # Errors
    /// `invalid-environment`
    pub fn request(&self, lock: LockMode) -> Result<Request, Diagnostics> {
        let gather = GatherOptions {
            lock,
            source_date_epoch: source_date_epoch()?,
            epoch: Epoch::CURRENT,
            allow_missing: self.allow_missing.iter().cloned().collect(),
        };
        let settings = Settings { set: self.set.clone() };
        Ok(Request {
            spec: spec_in(&self.spec),
            output: None,
            gather,
            settings,
            check: false,
            explain: false,
            record_source: false,
        })
    }
}

/// The spec at `path`: a file, or the `cluster.kdl` in a folder.
pub fn spec_in(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("cluster.kdl") } else { path.to_owned() }
}

/// Reads `NAME=VALUE`.
pub fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Declares the commands: what one takes is made when it is called, and not for all of them whenever kic starts.
macro_rules! commands {
    ($(#[doc = $about:literal] $name:ident($arguments:ty) = $word:literal,)+) => {
        /// The commands.
        #[derive(Debug)]
        pub enum Command {
            $(#[doc = $about] $name($arguments),)+
        }

        impl Subcommand for Command {
            fn augment_subcommands(root: clap::Command) -> clap::Command {
                root$(.subcommand(
                    clap::Command::new($word)
                        .about($about.trim())
                        .defer(|command| <$arguments as Args>::augment_args(command).about($about.trim())),
                ))+
            }

            fn augment_subcommands_for_update(root: clap::Command) -> clap::Command {
                Self::augment_subcommands(root)
            }

            fn has_subcommand(name: &str) -> bool {
                [$($word),+].contains(&name)
            }
        }

        impl FromArgMatches for Command {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($word, matches)) => <$arguments>::from_arg_matches(matches).map(Self::$name),)+
                    _ => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

commands! {
    /// Compile a spec to an OCI image
    Compile(commands::compile::Compile) = "compile",
    /// Resolve tags and URLs to digests, and write kic.lock
    Lock(commands::lock::Lock) = "lock",
    /// Tell what a compile would build, fetch and reuse
    Plan(commands::plan::Plan) = "plan",
    /// Draw the graph of layers
    Graph(commands::graph::Graph) = "graph",
    /// List the images that a spec has to do with, and what needs them
    Images(commands::images::Images) = "images",
    /// Tell what needs an image
    Why(commands::why::Why) = "why",
    /// Tell what policies and mirrors make of an image's name
    Redirect(commands::redirect::Redirect) = "redirect",
    /// Tell what is in an image
    Inspect(commands::inspect::Inspect) = "inspect",
    /// Tell what two images differ in
    Diff(commands::diff::Diff) = "diff",
    /// Tell whether an image is whole and is what it says
    Verify(commands::verify::Verify) = "verify",
    /// Unpack the root file system of an image
    Unpack(commands::unpack::Unpack) = "unpack",
    /// Send an image to a registry
    Push(commands::push::Push) = "push",
    /// Tell whether a spec is well formed, without looking at anything else
    Check(commands::check::Check) = "check",
    /// Print a spec with nothing left to evaluate
    Eval(commands::eval::Eval) = "eval",
    /// Start a spec, or turn a Kubefile into one
    Init(commands::init::Init) = "init",
    /// Turn Kubernetes manifests into KDL
    Import(commands::import::Import) = "import",
    /// Format specs and modules
    Fmt(commands::fmt::Fmt) = "fmt",
    /// List the modules of the standard library, or show one
    Std(commands::standard::Standard) = "std",
    /// Look after the store: what it holds, what keeps it, what is damaged
    Store(commands::store::Store) = "store",
    /// Explain an error code or a node of the language
    Explain(commands::explain::Explain) = "explain",
    /// Print what makes a shell complete kic's command line
    Completions(commands::completions::Completions) = "completions",
}
