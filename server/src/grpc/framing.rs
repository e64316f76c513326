//! What a request must look like to be gRPC, looked at before anybody asks who sent it.
//!
//! A browser sends forms to any address, with the certificate of whoever sits before it; the headers of gRPC it does not send
//! by itself. It must not know identities, nor what is asked.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, TE},
};
use tonic::body::Body;

/// The answer to a request that is none of gRPC.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    let (status, why) = match () {
        () if request.method() != Method::POST => {
            (StatusCode::METHOD_NOT_ALLOWED, "gRPC is called with POST\n")
        }
        () if !has_content_type(request.headers()) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "this server speaks gRPC: content-type application/grpc\n")
        }
        () if !takes_trailers(request.headers()) => {
            (StatusCode::BAD_REQUEST, "gRPC ends with trailers: the header `te: trailers` is missing\n")
        }
        () => return None,
    };
    let mut response = Response::new(Body::new(why.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    Some(response)
}

/// `application/grpc`, alone or with the name of a codec behind a plus sign; gRPC-Web is something else.
fn has_content_type(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(found)), None) = (all.next().map(HeaderValue::to_str), all.next()) else { return false };
    let kind = found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let all = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refused = refusal(&request.body(()).expect("a request"));
        refused.map(|response| response.status().as_u16())
    }

    #[test]
    fn only_post_with_the_content_type_and_trailers_of_grpc_passes() {
        let te = ("te", "trailers");
        for good in ["application/grpc", "application/grpc+proto", "Application/GRPC; charset=utf-8"] {
            assert_eq!(status(Method::POST, &[("content-type", good), te]), None, "{good}");
        }
        for bad in ["", "text/plain", "application/grpc-web", "application/grpcx", "application/json"] {
            assert_eq!(status(Method::POST, &[("content-type", bad), te]), Some(415), "{bad}");
        }
        let twice = [("content-type", "application/grpc"), ("content-type", "text/plain"), te];
        assert_eq!(status(Method::POST, &twice), Some(415));
        assert_eq!(status(Method::POST, &[te]), Some(415));
        let grpc = ("content-type", "application/grpc");
        assert_eq!(status(Method::POST, &[grpc]), Some(400));
        assert_eq!(status(Method::POST, &[grpc, ("te", "gzip")]), Some(400));
        assert_eq!(status(Method::POST, &[grpc, ("te", "gzip, Trailers")]), None);
        assert_eq!(status(Method::GET, &[grpc, te]), Some(405));
    }
}
