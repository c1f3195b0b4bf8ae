//! Every method, message, field and enum value against etcd's, written down in `protocol.txt`. The numbers are the
//! protocol: a change of one is a change of every client and of every log on disk.

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use std::collections::BTreeMap;
use std::fmt::Write;

const EXPECTED: &str = include_str!("protocol.txt");

fn type_name(field: &FieldDescriptorProto, package: &str) -> String {
    let name = field.type_name().trim_start_matches('.');
    match field.r#type() {
        Type::Message | Type::Enum => {
            // The tables name a type of the same package by its last part.
            match name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')) {
                Some(local) => local.rsplit('.').next().unwrap_or(local).to_owned(),
                None => name.to_owned(),
            }
        }
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

fn field(field: &FieldDescriptorProto, message: &DescriptorProto, file: &FileDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Optional if file.syntax() != "proto3" => "optional ",
        _ => "",
    };
    let mut line =
        format!("  {} {} {label}{}", field.number(), field.name(), type_name(field, file.package()));
    if let Some(index) = field.oneof_index {
        let oneof = &message.oneof_decl[usize::try_from(index).expect("an index of the same message")];
        write!(line, " in {}", oneof.name()).expect("a string takes everything");
    }
    line
}

type Blocks = BTreeMap<String, Vec<String>>;

fn message(out: &mut Blocks, prefix: &str, message: &DescriptorProto, file: &FileDescriptorProto) {
    let name = format!("{prefix}.{}", message.name());
    let mut fields: Vec<_> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    out.insert(name.clone(), fields.into_iter().map(|f| field(f, message, file)).collect());
    message.enum_type.iter().for_each(|e| enumeration(out, &name, e));
    message.nested_type.iter().for_each(|m| self::message(out, &name, m, file));
}

fn enumeration(out: &mut Blocks, prefix: &str, e: &EnumDescriptorProto) {
    let values = e.value.iter().map(|value| format!("  {} {}", value.number(), value.name()));
    out.insert(format!("enum {prefix}.{}", e.name()), values.collect());
}

fn blocks_of(files: &[FileDescriptorProto]) -> Blocks {
    let mut out = Blocks::new();
    for file in files.iter().filter(|file| file.package() != "grpc.health.v1") {
        file.message_type.iter().for_each(|m| message(&mut out, file.package(), m, file));
        file.enum_type.iter().for_each(|e| enumeration(&mut out, file.package(), e));
        for service in &file.service {
            for method in &service.method {
                let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
                let stream = |yes: bool| if yes { "stream " } else { "" };
                let line = format!(
                    "{}.{} {}: {}{} -> {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    last(method.input_type()),
                    stream(method.server_streaming()),
                    last(method.output_type()),
                );
                out.insert(line, Vec::new());
            }
        }
    }
    out
}

fn expected() -> Blocks {
    let mut out = Blocks::new();
    let mut name = String::new();
    for line in EXPECTED.lines() {
        if line.starts_with(' ') {
            out.get_mut(&name).expect("a name comes first").push(line.to_owned());
        } else {
            name = line.to_owned();
            out.insert(name.clone(), Vec::new());
        }
    }
    out
}

#[test]
fn the_protocol_is_etcds() {
    let set = FileDescriptorSet::decode(tenure_api::FILE_DESCRIPTOR_SET).expect("made by the build");
    let actual = blocks_of(&set.file);
    let expected = expected();
    for (name, fields) in &expected {
        assert_eq!(actual.get(name), Some(fields), "{name}");
    }
    let unexpected: Vec<_> = actual.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(unexpected.is_empty(), "etcd has no {unexpected:?}");
}

#[test]
fn the_health_service_is_described() {
    let set = FileDescriptorSet::decode(tenure_api::FILE_DESCRIPTOR_SET).expect("made by the build");
    let file = set.file.iter().find(|file| file.package() == "grpc.health.v1").expect("described");
    let methods: Vec<_> = file.service[0].method.iter().map(|method| method.name()).collect();
    assert_eq!((file.service[0].name(), methods), ("Health", vec!["Check", "List", "Watch"]));
}
