//! What variables mean: one table of single ones, one of those that count together, and what has no effect.

use super::*;

const PROXY: &str = "nearside-proxy";

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::new(variables)
}

/// The flags with their values, as they could be typed.
fn typed(variables: &[(&str, &str)]) -> Vec<String> {
    let translation = Translation::new(&environment(variables), PROXY);
    let flags = translation.taken.into_iter().flat_map(|taken| taken.flags);
    flags.map(|(flag, values)| format!("--{flag}={}", values.join(","))).collect()
}

#[test]
fn single_variables_become_flags() {
    for (variable, value, expected) in [
        ("ROUTER_SERVICE_NAME", "public", "--router-name=public"),
        ("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", "true", "--namespace-ownership=inter"),
        ("ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK", "0", "--namespace-ownership=strict"),
        ("ROUTER_DOMAIN", "apps.test", "--router-domain=apps.test"),
        ("ROUTER_SUBDOMAIN", "${name}.apps.test", "--hostname-template=${name}.apps.test"),
        ("ROUTER_OVERRIDE_HOSTNAME", "true", "--override-hostname=true"),
        ("ROUTER_OVERRIDE_DOMAINS", "a.test, b.test", "--override-domains=a.test,b.test"),
        ("ROUTER_DENIED_DOMAINS", "a.test,,b.test", "--denied-domains=a.test,b.test"),
        ("ROUTER_ALLOWED_DOMAINS", "a.test", "--allowed-domains=a.test"),
        ("ROUTER_ALLOW_WILDCARD_ROUTES", "1", "--allow-wildcard-routes=true"),
        ("ROUTE_LABELS", "a in (b,c)", "--route-labels=a in (b,c)"),
        ("ROUTE_FIELDS", "spec.host=a.test", "--route-fields=spec.host=a.test"),
        ("NAMESPACE_LABELS", "team=a", "--namespace-labels=team=a"),
        ("PROJECT_LABELS", "team=a", "--namespace-labels=team=a"),
        ("ROUTER_STRICT_SNI", "T", "--strict-sni=true"),
        ("ROUTER_HTTP_IGNORE_PROBES", "true", "--empty-requests=ignore"),
        ("ROUTER_HTTP_IGNORE_PROBES", "false", "--empty-requests=respond"),
        ("ROUTER_DONT_LOG_NULL", "true", "--log-empty-requests=false"),
        ("ROUTER_DONT_LOG_NULL", "false", "--log-empty-requests=true"),
        ("ROUTER_ABORT_ON_CLOSE", "true", "--abort-on-close=true"),
        ("ROUTER_ENABLE_COMPRESSION", "true", "--compression=true"),
        ("ROUTER_COMPRESSION_MIME", "text/html  text/css", "--compression-types=text/html,text/css"),
        ("ROUTER_USE_PROXY_PROTOCOL", "true", "--proxy-protocol=required"),
        ("ROUTER_USE_PROXY_PROTOCOL", "false", "--proxy-protocol=trusted"),
        ("DEFAULT_DESTINATION_CA_PATH", "/ca.crt", "--destination-ca=/ca.crt"),
        ("ROUTER_CURVES", "X25519:P-256", "--tls-curves=X25519:P-256"),
        ("SSL_MIN_VERSION", "TLSv1.2", "--tls-min-version=TLSv1.2"),
        ("SSL_MAX_VERSION", "TLSv1.3", "--tls-max-version=TLSv1.3"),
        ("ROUTER_DISABLE_HTTP2", "true", "--disable-http2=true"),
        ("ROUTER_MUTUAL_TLS_AUTH", "required", "--client-tls=required"),
        ("ROUTER_MUTUAL_TLS_AUTH_CA", "/ca.pem", "--client-tls-ca=/ca.pem"),
        ("ROUTER_MUTUAL_TLS_AUTH_CRL", "/crl.pem", "--client-tls-crl=/crl.pem"),
        ("ROUTER_MUTUAL_TLS_AUTH_FILTER", "/CN=a", "--client-tls-filter=/CN=a"),
        ("ROUTER_MUTUAL_TLS_HEADER_FILTER", "0", "--client-tls-header-filter=false"),
        ("ROUTER_INSPECT_DELAY", "5s", "--client-hello-timeout=5000ms"),
        ("ROUTER_DEFAULT_CONNECT_TIMEOUT", "3s", "--connect-timeout=3000ms"),
        ("ROUTER_DEFAULT_SERVER_TIMEOUT", "45000", "--read-timeout=45000ms"),
        ("ROUTER_DEFAULT_CLIENT_TIMEOUT", "1m", "--client-timeout=60000ms"),
        ("ROUTER_DEFAULT_TUNNEL_TIMEOUT", "349s", "--tunnel-timeout=349000ms"),
        ("ROUTER_CLIENT_FIN_TIMEOUT", "1s", "--client-fin-timeout=1000ms"),
        ("ROUTER_DEFAULT_SERVER_FIN_TIMEOUT", "1s", "--server-fin-timeout=1000ms"),
        ("ROUTER_SLOWLORIS_TIMEOUT", "10s", "--header-timeout=10000ms"),
        ("ROUTER_SLOWLORIS_HTTP_KEEPALIVE", "300s", "--keep-alive-timeout=300000ms"),
        ("ROUTER_MAX_CONNECTIONS", "20000", "--max-connections=20000"),
        ("ROUTER_MAX_CONNECTIONS", "auto", "--max-connections=auto"),
        ("ROUTER_BACKEND_CHECK_INTERVAL", "5000ms", "--check-interval=5000ms"),
        ("ROUTER_COOKIE_NAME", "sticky", "--cookie-name=sticky"),
        ("ROUTER_THREADS", "4", "--threads=4"),
        ("ROUTER_LOAD_BALANCE_ALGORITHM", "leastconn", "--balance=leastconn"),
        ("ROUTER_TCP_BALANCE_SCHEME", "source", "--tcp-balance=source"),
        ("ROUTER_BACKEND_CHECK_INTERVAL", "2s", "--check-interval=2000ms"),
        ("ROUTER_SET_FORWARDED_HEADERS", "if-none", "--forwarded-headers=if-none"),
        ("ROUTER_HTTP_REQUEST_HEADERS", "X-A:b%2Cc:Set,X-B:Delete", "--request-header=X-A:b%2Cc:Set,X-B:Delete"),
        ("ROUTER_HTTP_RESPONSE_HEADERS", "Server:Delete", "--response-header=Server:Delete"),
        ("ROUTER_H1_CASE_ADJUST", "Host, Cache-Control", "--h1-case-adjust=Host,Cache-Control"),
        ("ROUTER_LOG_FACILITY", "local3", "--syslog-facility=local3"),
        ("ROUTER_LOG_LEVEL", "info", "--syslog-level=info"),
        ("ROUTER_LOG_MAX_LENGTH", "4096", "--syslog-max-length=4096"),
        ("ROUTER_CAPTURE_HTTP_REQUEST_HEADERS", "Host:15,Referer:9", "--capture-request-headers=Host:15,Referer:9"),
        ("ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS", "Location:9", "--capture-response-headers=Location:9"),
        ("ROUTER_CAPTURE_HTTP_COOKIE", "session=:32", "--capture-cookie=session=:32"),
        ("ROUTER_METRICS_TYPE", "haproxy", "--openshift-metrics=true"),
        ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "500", "--pod-series=500"),
        ("ROUTER_GRACEFUL_SHUTDOWN_DELAY", "1m30s", "--shutdown-delay=90000ms"),
        ("ROUTER_MAX_SHUTDOWN_TIMEOUT", "30", "--drain-timeout=30000ms"),
    ] {
        assert_eq!(typed(&[(variable, value)]), [expected], "{variable}={value}");
    }
}

/// Variables, and the flags that they become.
type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn some_variables_count_together() {
    let cases: [Case; 18] = [
        (&[("ROUTER_SERVICE_HTTP_PORT", "8080")], &["--http-listen=0.0.0.0:8080"]),
        (
            &[("ROUTER_SERVICE_HTTPS_PORT", "8443"), ("ROUTER_IP_V4_V6_MODE", "v4v6")],
            &["--http-listen=0.0.0.0:80,[::]:80", "--https-listen=0.0.0.0:8443,[::]:8443"],
        ),
        (&[("ROUTER_IP_V4_V6_MODE", "v6")], &["--http-listen=[::]:80", "--https-listen=[::]:443"]),
        (&[("ROUTER_IP_V4_V6_MODE", "v5"), ("ROUTER_SERVICE_HTTP_PORT", "8080")], &[]),
        (&[("ROUTER_SERVICE_HTTP_PORT", "0")], &[]),
        (&[("STATS_PORT", "1937")], &["--admin-listen=0.0.0.0:1937"]),
        (&[("STATS_PORT", "1937"), ("ROUTER_LISTEN_ADDR", ":1938")], &["--admin-listen=0.0.0.0:1938"]),
        (
            &[("DEFAULT_CERTIFICATE_DIR", "/etc/certificate"), ("DEFAULT_CERTIFICATE_PATH", "/a.pem")],
            &["--default-cert=/a.pem"],
        ),
        (
            &[("DEFAULT_CERTIFICATE_DIR", "/etc/certificate"), ("DEFAULT_CERTIFICATE_PATH", "")],
            &["--default-cert=/etc/certificate"],
        ),
        (&[("ROUTER_CIPHERS", "intermediate")], &["--tls-cipher-suites=intermediate"]),
        (
            &[("ROUTER_CIPHERS", "ECDHE-RSA-AES128-GCM-SHA256")],
            &["--tls-cipher-suites=ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:\
               TLS_CHACHA20_POLY1305_SHA256"],
        ),
        (
            &[("ROUTER_CIPHERS", "ECDHE-RSA-AES128-GCM-SHA256"), ("ROUTER_CIPHERSUITES", "TLS_AES_128_GCM_SHA256")],
            &["--tls-cipher-suites=ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256"],
        ),
        (
            &[("ROUTER_UNIQUE_ID_HEADER_NAME", "X-Id"), ("ROUTER_UNIQUE_ID_FORMAT", "%ci")],
            &["--unique-id-header=X-Id", "--unique-id-format=%ci"],
        ),
        (&[("ROUTER_UNIQUE_ID_HEADER_NAME", "X-Id")], &[]),
        (
            &[("ROUTER_SYSLOG_ADDRESS", "10.0.0.9:5514")],
            &["--access-log=syslog://10.0.0.9:5514", "--access-log-format=haproxy"],
        ),
        (
            &[("ROUTER_SYSLOG_ADDRESS", "/var/lib/rsyslog/rsyslog.sock")],
            &["--access-log=syslog:///var/lib/rsyslog/rsyslog.sock", "--access-log-format=haproxy"],
        ),
        (
            &[("ROUTER_SYSLOG_ADDRESS", "logs"), ("ROUTER_SYSLOG_FORMAT", r#""%ci \"%HM\" \\%ST""#)],
            &["--access-log=syslog://logs", "--access-log-format=haproxy", r#"--access-log-format=%ci "%HM" \%ST"#],
        ),
        (&[("ROUTER_SYSLOG_FORMAT", "%ci")], &[]),
    ];
    for (variables, expected) in cases {
        assert_eq!(typed(variables), expected, "{variables:?}");
    }
}

#[test]
fn every_variable_is_taken_or_told_of() {
    for setting in SETTINGS {
        for value in ["true", "1", "8080", "1s", "nonsense; {}", "v4"] {
            for program in [PROXY, "nearside-controller", "another"] {
                let found = Translation::new(&environment(&[(setting.variable, value)]), program);
                let told = found.ignored.iter().chain(&found.unusable).map(|(variable, _)| *variable);
                let all: BTreeSet<&str> =
                    found.taken.iter().flat_map(|taken| taken.variables.clone()).chain(told).collect();
                assert_eq!(all, BTreeSet::from([setting.variable]), "{program}: {found:?}");
                assert!(found.unknown.is_empty());
            }
        }
    }
}

#[test]
fn bad_values_leave_the_default_and_are_told() {
    let long = "x".repeat(100_000);
    let found = Translation::new(&environment(&[("ROUTER_DEFAULT_CONNECT_TIMEOUT", &long)]), PROXY);
    let [(variable, message)] = &*found.unusable else { panic!("{found:?}") };
    assert!(*variable == "ROUTER_DEFAULT_CONNECT_TIMEOUT" && message.len() < 200, "{message}");
    assert!(found.taken.is_empty());
}

#[test]
fn names_that_only_look_like_the_routers_are_told_unless_kubernetes_sets_them() {
    let found = Translation::new(
        &environment(&[
            ("ROUTER_DEFAULT_CONECT_TIMEOUT", "1s"),
            ("ROUTER_EMPTY", ""),
            ("HOME", "/"),
            // For Services called router and router-internal-default.
            ("ROUTER_SERVICE_HOST", "10.0.0.1"),
            ("ROUTER_SERVICE_PORT", "80"),
            ("ROUTER_SERVICE_PORT_METRICS", "1936"),
            ("ROUTER_PORT", "tcp://10.0.0.1:80"),
            ("ROUTER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("ROUTER_INTERNAL_DEFAULT_PORT_1936_TCP_ADDR", "10.0.0.1"),
        ]),
        PROXY,
    );
    assert_eq!(found.unknown, ["ROUTER_DEFAULT_CONECT_TIMEOUT"]);
    assert!(found.ignored.is_empty() && found.taken.is_empty(), "{found:?}");
}

#[test]
fn what_a_flag_refuses_is_taken_back_alone_and_all_where_nothing_is_named() {
    let environment =
        environment(&[("ROUTER_LOAD_BALANCE_ALGORITHM", "best"), ("DEFAULT_CERTIFICATE_PATH", "/nowhere")]);
    let mut found = Translation::new(&environment, PROXY);
    assert!(found.refuse(&["--default-cert: /nowhere: no such file".to_owned()]));
    assert_eq!(found.taken.len(), 1);
    assert_eq!(found.unusable[0].0, "DEFAULT_CERTIFICATE_PATH");
    assert!(found.unusable[0].1.starts_with("--default-cert: /nowhere"), "{found:?}");
    assert!(found.refuse(&["--node-name: is required".to_owned()]));
    assert!(found.taken.is_empty() && found.unusable.len() == 2);
    assert!(!found.refuse(&["--node-name: is required".to_owned()]));
}

#[test]
fn what_guards_something_is_never_taken_back_and_named_with_its_mistake() {
    let mut found = Translation::new(&environment(&[("ROUTER_MUTUAL_TLS_AUTH", "Always")]), PROXY);
    let mistake = "--client-tls: \"Always\" is not one of none, optional, required".to_owned();
    for mistakes in [&[mistake.clone()][..], &["--node-name: is required".to_owned()], &[]] {
        assert!(!found.refuse(mistakes));
    }
    assert!(found.explain(&mistake).ends_with("required (ROUTER_MUTUAL_TLS_AUTH)"), "{}", found.explain(&mistake));
    assert_eq!(found.explain("--node-name: is required"), "--node-name: is required");
}
