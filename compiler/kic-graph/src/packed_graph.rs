//! A graph as bytes, as it is kept for the next compile of the spec: see [`kic_base::packed`]. Places in texts are not kept.

use kic_base::packed::{Reader, put_digest, put_list, put_number, put_option, put_text};
use petgraph::graph::{DiGraph, NodeIndex};

use crate::derivation::{Derivation, compression_name};
use crate::graph::{BaseConfig, Contents, Graph, Image, ImageLayer, Kind, Node, PlatformImage};
use crate::inputs::{BlobFacts, ContentFacts};
use crate::packed_node::{
    put_index, put_node, put_source, put_texts, take_compression, take_index, take_node, take_source,
    take_texts,
};

impl Graph {
    /// Adds it to bytes.
    pub fn pack(&self, bytes: &mut Vec<u8>) {
        put_list(bytes, self.nodes.raw_nodes().iter(), |bytes, node| put_node(bytes, &node.weight));
        put_list(bytes, self.nodes.raw_edges().iter(), |bytes, edge| {
            put_index(bytes, edge.source());
            put_index(bytes, edge.target());
        });
        put_image(bytes, &self.image);
    }

    /// Takes one from the front of bytes, as it is where files of this machine hold something else, and nothing else is otherwise.
    /// `contents` says of each node what that is; `changed` is told of those that changed as soon as they are known. Nothing comes where
    /// there is none, or lowering might give another one.
    pub fn unpack(
        reader: &mut Reader<'_>,
        mut contents: impl FnMut(NodeIndex, &Node) -> Option<Contents>,
        mut changed: impl FnMut(&Node),
    ) -> Option<Self> {
        let (mut nodes, mut others) = (DiGraph::<Node, ()>::new(), Vec::new());
        for place in 0..reader.length()? {
            let mut node = take_node(reader)?;
            let now = contents(NodeIndex::new(place), &node)?;
            let is_changed = !now.is_empty();
            if is_changed {
                node.hold(&now)?;
            }
            let is_plan = matches!(node.derivation, Derivation::Launch(_));
            if is_changed || is_plan && !others.is_empty() {
                // Inputs come before what is made of them.
                let is_there = |input: NodeIndex| input.index() < place;
                if !node.derivation.inputs().into_iter().all(is_there) {
                    return None;
                }
                node.digest = node.derivation.digest(&|input| nodes[input].digest);
            }
            let index = nodes.add_node(node);
            if is_changed {
                changed(&nodes[index]);
                others.push(index);
            }
        }
        for _ in 0..reader.length()? {
            let (from, to) = (take_index(reader)?, take_index(reader)?);
            // Whoever walks the graph takes every index for one of it.
            nodes.node_weight(from).and(nodes.node_weight(to))?;
            nodes.add_edge(from, to, ());
        }
        let image = take_image(reader)?;
        let graph = Self { nodes, image };
        // Two that are the same would be one node.
        let is_twice = |index: NodeIndex| {
            let digest = graph.nodes[index].digest;
            graph.nodes.node_weights().filter(|node| node.digest == digest).count() > 1
        };
        (graph.is_closed() && !others.into_iter().any(is_twice)).then_some(graph)
    }

    /// Whether every index in it is that of a node.
    fn is_closed(&self) -> bool {
        let is_node = |index: NodeIndex| self.nodes.node_weight(index).is_some();
        let of_image = |image: &PlatformImage| {
            is_node(image.launch) && image.layers.iter().all(|layer| is_node(layer.node))
        };
        self.nodes.node_weights().all(|node| node.derivation.inputs().into_iter().all(is_node))
            && self.image.platforms.values().all(of_image)
    }
}

fn put_image(bytes: &mut Vec<u8>, image: &Image) {
    let Image { name, version, tag, created, compression, platforms } = image;
    put_text(bytes, name);
    put_option(bytes, version.as_deref(), put_text);
    put_text(bytes, tag);
    put_number(bytes, *created);
    put_text(bytes, compression_name(*compression));
    put_list(bytes, platforms.iter(), |bytes, (platform, image)| {
        put_text(bytes, &platform.to_string());
        put_platform_image(bytes, image);
    });
}

fn take_image(reader: &mut Reader<'_>) -> Option<Image> {
    Some(Image {
        name: reader.text()?.to_owned(),
        version: reader.option(Reader::text)?.map(str::to_owned),
        tag: reader.text()?.to_owned(),
        created: reader.number()?,
        compression: take_compression(reader)?,
        platforms: reader
            .list(|reader| Some((reader.value()?, take_platform_image(reader)?)))?
            .into_iter()
            .collect(),
    })
}

fn put_platform_image(bytes: &mut Vec<u8>, image: &PlatformImage) {
    let PlatformImage { layers, base, labels, launch } = image;
    put_list(bytes, layers.iter(), |bytes, layer| {
        let ImageLayer { node, kind, name, upstream, annotations } = layer;
        put_index(bytes, *node);
        put_text(bytes, kind.name());
        put_text(bytes, name);
        put_option(bytes, upstream.as_ref(), |bytes, (blob, diff_id)| {
            put_text(bytes, &blob.media_type);
            ContentFacts { digest: blob.digest, size: blob.size }.pack(bytes);
            put_digest(bytes, diff_id);
        });
        put_texts(bytes, annotations.iter());
    });
    match base {
        BaseConfig::Scratch => bytes.push(0),
        BaseConfig::Image { config, source } => {
            bytes.push(1);
            put_text(bytes, &config.to_string());
            put_option(bytes, source.as_ref(), |bytes, (source, digest)| {
                put_source(bytes, source);
                put_digest(bytes, digest);
            });
        }
        BaseConfig::Spec(image) => {
            bytes.push(2);
            put_platform_image(bytes, image);
        }
    }
    put_texts(bytes, labels.iter());
    put_index(bytes, *launch);
}

fn take_platform_image(reader: &mut Reader<'_>) -> Option<PlatformImage> {
    Some(PlatformImage {
        layers: reader.list(|reader| {
            Some(ImageLayer {
                node: take_index(reader)?,
                kind: Kind::by_name(reader.text()?)?,
                name: reader.text()?.to_owned(),
                upstream: reader.option(|reader| {
                    let media_type = reader.text()?.to_owned();
                    let ContentFacts { digest, size } = ContentFacts::unpack(reader)?;
                    Some((BlobFacts { media_type, digest, size }, reader.digest()?))
                })?,
                annotations: take_texts(reader)?,
            })
        })?,
        base: match reader.take(1)? {
            [0] => BaseConfig::Scratch,
            [1] => BaseConfig::Image {
                config: serde_json::from_str(reader.text()?).ok()?,
                source: reader.option(|reader| Some((take_source(reader)?, reader.digest()?)))?,
            },
            [2] => BaseConfig::Spec(Box::new(take_platform_image(reader)?)),
            _ => return None,
        },
        labels: take_texts(reader)?,
        launch: take_index(reader)?,
    })
}
