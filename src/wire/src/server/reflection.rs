//! gRPC's reflection, under both its names: what the server serves, told from the compiled descriptors.

use futures::{Stream, StreamExt};
use prost::Message;
use seatrial_proto::prost_reflect::FileDescriptor;
use std::collections::BTreeSet;
use std::pin::Pin;
use tonic::{Request, Response, Status, Streaming};

/// The service. It knows nothing but constants.
#[derive(Clone, Copy)]
pub(super) struct Reflection;

/// What may be asked.
enum Ask {
    File(String),
    Symbol(String),
    Extension(String),
    Extensions(String),
    Services,
    Nothing,
}

/// What may be answered.
enum Tell {
    Files(Vec<Vec<u8>>),
    Extensions(String),
    Services(Vec<String>),
    Refused(tonic::Code, String),
}

fn tell(ask: Ask) -> Tell {
    let pool = seatrial_proto::descriptors();
    match ask {
        Ask::Services => {
            Tell::Services(pool.services().map(|service| service.full_name().to_owned()).collect())
        }
        Ask::File(name) => match pool.get_file_by_name(&name) {
            Some(file) => Tell::Files(with_imports(file)),
            None => Tell::Refused(tonic::Code::NotFound, format!("unknown file {name}")),
        },
        Ask::Symbol(name) => match file_of(&name) {
            Some(file) => Tell::Files(with_imports(file)),
            None => Tell::Refused(tonic::Code::NotFound, format!("unknown symbol {name}")),
        },
        Ask::Extension(name) => {
            Tell::Refused(tonic::Code::NotFound, format!("no extension of {name} is known: there are none"))
        }
        Ask::Extensions(name) => match pool.get_message_by_name(&name) {
            Some(_) => Tell::Extensions(name),
            None => Tell::Refused(tonic::Code::NotFound, format!("unknown type {name}")),
        },
        Ask::Nothing => Tell::Refused(
            tonic::Code::InvalidArgument,
            "the request asks for nothing that is known".to_owned(),
        ),
    }
}

/// The file that defines a service, method, message, field or enumeration.
fn file_of(name: &str) -> Option<FileDescriptor> {
    let pool = seatrial_proto::descriptors();
    let name = name.trim_start_matches('.');
    let whole = |name: &str| {
        let service = pool.get_service_by_name(name).map(|service| service.parent_file());
        let message = || pool.get_message_by_name(name).map(|message| message.parent_file());
        let enumeration = || pool.get_enum_by_name(name).map(|kind| kind.parent_file());
        service.or_else(message).or_else(enumeration)
    };
    whole(name).or_else(|| {
        // A part of one: it must be there as well.
        let (parent, part) = name.rsplit_once('.')?;
        let method = pool
            .get_service_by_name(parent)
            .is_some_and(|service| service.methods().any(|method| method.name() == part));
        let field =
            pool.get_message_by_name(parent).is_some_and(|message| message.get_field_by_name(part).is_some());
        let value = pool.get_enum_by_name(parent).is_some_and(|kind| kind.get_value_by_name(part).is_some());
        (method || field || value).then(|| whole(parent)).flatten()
    })
}

/// A file and all it rests on, so that one question is enough.
fn with_imports(file: FileDescriptor) -> Vec<Vec<u8>> {
    let mut told = BTreeSet::new();
    let mut waiting = vec![file];
    let mut files = Vec::new();
    while let Some(file) = waiting.pop() {
        if told.insert(file.name().to_owned()) {
            files.push(file.file_descriptor_proto().encode_to_vec());
            waiting.extend(file.dependencies());
        }
    }
    files
}

/// Both names have the same messages in packages of their own.
macro_rules! reflection {
    ($package:ident) => {
        mod $package {
            use super::*;
            use seatrial_proto::$package as pb;

            fn answer(request: pb::ServerReflectionRequest) -> pb::ServerReflectionResponse {
                use pb::server_reflection_request::MessageRequest;
                use pb::server_reflection_response::MessageResponse;
                let ask = match request.message_request.clone() {
                    Some(MessageRequest::FileByFilename(name)) => Ask::File(name),
                    Some(MessageRequest::FileContainingSymbol(name)) => Ask::Symbol(name),
                    Some(MessageRequest::FileContainingExtension(asked)) => {
                        Ask::Extension(asked.containing_type)
                    }
                    Some(MessageRequest::AllExtensionNumbersOfType(name)) => Ask::Extensions(name),
                    Some(MessageRequest::ListServices(_)) => Ask::Services,
                    None => Ask::Nothing,
                };
                let told = match tell(ask) {
                    Tell::Files(files) => {
                        let file_descriptor_proto = files.into_iter().map(Into::into).collect();
                        MessageResponse::FileDescriptorResponse(pb::FileDescriptorResponse {
                            file_descriptor_proto,
                        })
                    }
                    Tell::Extensions(base_type_name) => {
                        MessageResponse::AllExtensionNumbersResponse(pb::ExtensionNumberResponse {
                            base_type_name,
                            extension_number: Vec::new(),
                        })
                    }
                    Tell::Services(names) => {
                        let service = names.into_iter().map(|name| pb::ServiceResponse { name }).collect();
                        MessageResponse::ListServicesResponse(pb::ListServiceResponse { service })
                    }
                    Tell::Refused(code, error_message) => MessageResponse::ErrorResponse(pb::ErrorResponse {
                        error_code: code as i32,
                        error_message,
                    }),
                };
                pb::ServerReflectionResponse {
                    valid_host: request.host.clone(),
                    original_request: Some(request),
                    message_response: Some(told),
                }
            }

            #[tonic::async_trait]
            impl pb::server_reflection_server::ServerReflection for Reflection {
                type ServerReflectionInfoStream =
                    Pin<Box<dyn Stream<Item = Result<pb::ServerReflectionResponse, Status>> + Send>>;

                async fn server_reflection_info(
                    &self,
                    request: Request<Streaming<pb::ServerReflectionRequest>>,
                ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                    let answers = request.into_inner().map(|request| request.map(answer));
                    Ok(Response::new(Box::pin(answers)))
                }
            }
        }
    };
}

reflection!(reflection);
reflection!(reflection_alpha);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_defined_is_found_by_its_name() {
        for name in [
            "etcdserverpb.KV",
            "etcdserverpb.KV.Range",
            "etcdserverpb.RangeRequest",
            "etcdserverpb.RangeRequest.key",
            "etcdserverpb.RangeRequest.SortOrder",
            ".mvccpb.KeyValue",
            "grpc.health.v1.Health",
        ] {
            assert!(file_of(name).is_some(), "{name}");
        }
        for name in ["etcdserverpb.KV.Nothing", "etcdserverpb", "", ".", "x.y"] {
            assert!(file_of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_file_comes_with_all_it_imports() {
        let file = file_of("etcdserverpb.KV").unwrap();
        let names: BTreeSet<_> = with_imports(file)
            .iter()
            .map(|bytes| {
                let file = seatrial_proto::descriptors()
                    .files()
                    .find(|known| known.file_descriptor_proto().encode_to_vec() == *bytes);
                file.expect("a file of ours").name().to_owned()
            })
            .collect();
        assert_eq!(names, ["auth.proto", "kv.proto", "rpc.proto"].map(str::to_owned).into());
    }
}
