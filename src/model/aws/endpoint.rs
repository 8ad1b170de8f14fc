//! The region and service of an AWS endpoint, as its host's name says them.

/// The region and the service for which a request is signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningScope {
    /// The region's name.
    pub region: Box<str>,
    /// The service's name in signatures, which may differ from its name in hosts.
    pub service: Box<str>,
}

/// The longest name of a region or a service.
const MAX_NAME_LEN: usize = 64;

/// Tells whether a text can be the name of a region or a service.
#[must_use]
pub fn is_scope_name(text: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl SigningScope {
    /// Reads the name of a host, in lower case. `None` for hosts that are not AWS's own, and for
    /// those whose name does not say both.
    ///
    /// Hosts whose name is chosen by AWS's customers are read by the part that AWS has chosen, and
    /// not at all where a customer's program would be sent a signature that counts elsewhere.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let rest = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix))?;
        let (before, last) = rest.rsplit_once('.').unwrap_or(("", rest));
        if is_region(last) {
            return service_in_region(before).map(|service| Self::new(last, service));
        }
        // `NAME.REGION.es.amazonaws.com`
        let region = before.rsplit_once('.').map(|(_name, region)| region);
        if let Some(region) = region.filter(|region| is_region(region)) {
            return ["es", "aoss"].contains(&last).then(|| Self::new(region, last));
        }
        // Hosts that name no region, or only as a part of a label.
        if last == "s3" {
            return Some(Self::new(GLOBAL_REGION, "s3"));
        }
        if let Some(region) = last.strip_prefix("s3-").filter(|region| is_region(region)) {
            return Some(Self::new(region, "s3"));
        }
        let is_global = GLOBAL.contains(&rest);
        let label = rest.strip_prefix("global.").unwrap_or(rest);
        is_global.then(|| Self::new(GLOBAL_REGION, label))
    }

    /// Tells whether the name of a host that an allowed domain covers may say both.
    #[must_use]
    pub fn may_be_named_within(domain: &str) -> bool {
        match domain.strip_prefix('*') {
            None => Self::of_host(domain).is_some(),
            Some(below) => SUFFIXES.iter().any(|suffix| below.ends_with(suffix)),
        }
    }

    fn new(region: &str, service: &str) -> Self {
        Self { region: region.into(), service: service.into() }
    }

    /// Tells whether the service is S3 or one of its kin, which have rules of their own.
    #[must_use]
    pub fn is_s3(&self) -> bool {
        matches!(&*self.service, "s3" | "s3-object-lambda" | "s3-outposts" | "s3express")
    }
}

/// The service of a host `before.REGION.amazonaws.com`.
fn service_in_region(before: &str) -> Option<&str> {
    let before = before.strip_suffix(".dualstack").unwrap_or(before);
    let before = before.strip_suffix("-fips").unwrap_or(before);
    if let Some((_, service)) = NAMED_OTHERWISE.iter().find(|(host, _)| *host == before) {
        return Some(service);
    }
    let Some((_name, last)) = before.rsplit_once('.') else {
        return is_scope_name(before).then(|| of_label(before));
    };
    // A name of AWS's customer comes first.
    let last = last.strip_suffix("-fips").unwrap_or(last);
    match last {
        "s3" | "s3-accesspoint" | "s3-control" => Some("s3"),
        "s3-object-lambda" | "s3-outposts" | "execute-api" => Some(last),
        "appsync-api" => Some("appsync"),
        "ddb" => Some("dynamodb"),
        "iot" => Some("iotdata"),
        _ if last.starts_with("s3express-") => Some("s3express"),
        _ => None,
    }
}

/// The service of a host's only label. A label that is not known is the service's name itself.
fn of_label(label: &str) -> &str {
    if label.starts_with("s3express-") { "s3express" } else { label }
}

/// Tells whether a label is the name of a region: `us-east-1`, `us-gov-west-1`.
pub(super) fn is_region(label: &str) -> bool {
    let parts: Vec<_> = label.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let is_word =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    (2..=4).contains(&first.len())
        && is_word(first)
        && !middle.is_empty()
        && middle.iter().all(is_word)
        && (1..=2).contains(&last.len())
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The region of services that have one endpoint for all regions.
const GLOBAL_REGION: &str = "us-east-1";

/// Hosts without a region.
const GLOBAL: [&str; 11] = [
    "budgets",
    "cloudfront",
    "global.health",
    "health",
    "iam",
    "organizations",
    "route53",
    "savingsplans",
    "sdb",
    "sts",
    "waf",
];

/// Hosts whose service has another name in signatures, as AWS publishes them with its SDKs.
const NAMED_OTHERWISE: [(&str, &str); 80] = [
    ("a2i-runtime.sagemaker", "sagemaker"),
    ("account-access-runtime", "account-access"),
    ("admin.wickr", "wickr"),
    ("agent-registry-control", "agent-registry"),
    ("agreement-marketplace", "aws-marketplace"),
    ("api.detective", "detective"),
    ("api.ecr", "ecr"),
    ("api.ecr-public", "ecr-public"),
    ("api.iotdeviceadvisor", "iotdeviceadvisor"),
    ("api.iotmanagedintegrations", "iotmanagedintegrations"),
    ("api.iotwireless", "iotwireless"),
    ("api.mediatailor", "mediatailor"),
    ("api.pricing", "pricing"),
    ("api.sagemaker", "sagemaker"),
    ("api.tunneling.iot", "IoTSecuredTunneling"),
    ("appconfigdata", "appconfig"),
    ("appstream2", "appstream"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-agentcore-control", "bedrock-agentcore"),
    ("bedrock-data-automation", "bedrock"),
    ("bedrock-data-automation-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("cassandra-streams", "cassandra"),
    ("catalog.marketplace", "aws-marketplace"),
    ("cloudhsmv2", "cloudhsm"),
    ("cloudsearchdomain", "cloudsearch"),
    ("cloudwatch-omni", "cloudwatch"),
    ("contact-lens", "connect"),
    ("controlplane.payment-cryptography", "payment-cryptography"),
    ("data-ats.iot", "iotdata"),
    ("data-signer", "signer"),
    ("data.jobs.iot", "iot-jobs-data"),
    ("data.mediastore", "mediastore"),
    ("data.qapps", "qapps"),
    ("dataplane.payment-cryptography", "payment-cryptography"),
    ("deployment-marketplace", "aws-marketplace"),
    ("discovery-marketplace", "aws-marketplace"),
    ("edge.sagemaker", "sagemaker"),
    ("email", "ses"),
    ("entitlement.marketplace", "aws-marketplace"),
    ("eventsv2", "events"),
    ("featurestore-runtime.sagemaker", "sagemaker"),
    ("forecastquery", "forecast"),
    ("gateway-runtime.sagemaker", "sagemaker"),
    ("iam-toolbox", "iam"),
    ("identity-chime", "chime"),
    ("inferencerouter-runtime.sagemaker", "sagemaker"),
    ("ingest.timestream", "timestream"),
    ("ivsrealtime", "ivs"),
    ("job-runtime.sagemaker", "sagemaker"),
    ("mail-manager", "ses"),
    ("media-pipelines-chime", "chime"),
    ("meetings-chime", "chime"),
    ("memory-db", "memorydb"),
    ("messaging-chime", "chime"),
    ("metering.marketplace", "aws-marketplace"),
    ("metrics.sagemaker", "sagemaker"),
    ("migrationhub-config", "mgh"),
    ("models-v2-lex", "lex"),
    ("models.lex", "lex"),
    ("oidc", "sso-oauth"),
    ("participant.connect", "execute-api"),
    ("partnercentral-prm", "partnercentral"),
    ("personalize-events", "personalize"),
    ("personalize-runtime", "personalize"),
    ("pinpoint", "mobiletargeting"),
    ("portal.sso", "awsssoportal"),
    ("query.timestream", "timestream"),
    ("reporting-marketplace", "aws-marketplace"),
    ("runtime-v2-lex", "lex"),
    ("runtime.lex", "lex"),
    ("runtime.sagemaker", "sagemaker"),
    ("s3-accesspoint", "s3"),
    ("s3-control", "s3"),
    ("servicecatalog-appregistry", "servicecatalog"),
    ("sms-voice.pinpoint", "sms-voice"),
    ("streams.dynamodb", "dynamodb"),
    ("training-session-runtime.sagemaker", "sagemaker"),
    ("voice-chime", "chime"),
];

/// The ends of the names of AWS's own hosts.
const SUFFIXES: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(host: &str) -> Option<(String, String)> {
        SigningScope::of_host(host).map(|scope| (scope.region.into(), scope.service.into()))
    }

    #[test]
    fn aws_hosts_say_their_region_and_service() {
        for (host, region, service) in [
            ("dynamodb.us-west-2.amazonaws.com", "us-west-2", "dynamodb"),
            ("123456789012.ddb.us-west-2.amazonaws.com", "us-west-2", "dynamodb"),
            ("kms-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", "kms"),
            ("lambda.us-east-1.api.aws", "us-east-1", "lambda"),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", "sqs"),
            ("email.eu-west-1.amazonaws.com", "eu-west-1", "ses"),
            ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1", "bedrock"),
            ("api.ecr.eu-west-1.amazonaws.com", "eu-west-1", "ecr"),
            ("streams.dynamodb.eu-west-1.amazonaws.com", "eu-west-1", "dynamodb"),
            ("iam.amazonaws.com", "us-east-1", "iam"),
            ("sts.amazonaws.com", "us-east-1", "sts"),
            ("global.health.amazonaws.com", "us-east-1", "health"),
            ("s3.amazonaws.com", "us-east-1", "s3"),
            ("bucket.s3.amazonaws.com", "us-east-1", "s3"),
            ("s3.eu-west-1.amazonaws.com", "eu-west-1", "s3"),
            ("my.bucket.s3.eu-west-1.amazonaws.com", "eu-west-1", "s3"),
            ("bucket.s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", "s3"),
            ("bucket.s3-fips.us-east-1.amazonaws.com", "us-east-1", "s3"),
            ("bucket.s3-eu-west-1.amazonaws.com", "eu-west-1", "s3"),
            ("123456789012.s3-control.us-east-1.amazonaws.com", "us-east-1", "s3"),
            (
                "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
                "us-east-1",
                "s3express",
            ),
            ("abc123.execute-api.us-east-1.amazonaws.com", "us-east-1", "execute-api"),
            ("search-x-abc.us-east-1.es.amazonaws.com", "us-east-1", "es"),
            ("abc.us-east-1.aoss.amazonaws.com", "us-east-1", "aoss"),
        ] {
            assert_eq!(read(host), Some((region.into(), service.into())), "{host}");
        }
    }

    #[test]
    fn hosts_of_others_and_of_customers_programs_say_nothing() {
        for host in [
            "api.example.com",
            "amazonaws.com",
            "dynamodb.us-west-2.amazonaws.com.evil.example",
            "dynamodb.us-west-2.evilamazonaws.com",
            "balancer-1.us-east-1.elb.amazonaws.com",
            "ec2-1-2-3-4.us-west-2.compute.amazonaws.com",
            "ec2-1-2-3-4.compute-1.amazonaws.com",
            "iam.abc.us-east-1.amazonaws.com",
            "unknown.amazonaws.com",
            "d111111abcdef8.cloudfront.net",
            // A signature for its program would count for the service's own interface too.
            "abc.lambda-url.us-east-1.on.aws",
            "bucket.s3-website.us-east-1.amazonaws.com",
            "bucket.s3-website-us-east-1.amazonaws.com",
        ] {
            assert_eq!(read(host), None, "{host}");
        }
    }

    #[test]
    fn a_domain_may_name_a_scope_where_one_of_its_hosts_does() {
        for domain in ["*.amazonaws.com", "*.eu-west-1.amazonaws.com", "s3.us-east-1.amazonaws.com"]
        {
            assert!(SigningScope::may_be_named_within(domain), "{domain}");
        }
        for domain in ["api.example.com", "*.example.com", "*.com", "amazonaws.com.example.com"] {
            assert!(!SigningScope::may_be_named_within(domain), "{domain}");
        }
    }

    proptest! {
        #[test]
        fn a_customers_name_before_a_service_changes_nothing(name in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,10}){0,2}") {
            for (rest, service) in [("s3", "s3"), ("execute-api", "execute-api")] {
                let host = format!("{name}.{rest}.eu-west-1.amazonaws.com");
                prop_assert_eq!(read(&host), Some(("eu-west-1".into(), service.into())));
            }
        }
    }
}
