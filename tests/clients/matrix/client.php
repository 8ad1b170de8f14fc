<?php
// PHP's two clients, each as its users write it: `client.php NAME URL`.

[, $name, $url] = $argv;
if ($name === 'curl') {
    $handle = curl_init($url);
    curl_setopt_array($handle, [CURLOPT_RETURNTRANSFER => true, CURLOPT_FAILONERROR => true]);
    $body = curl_exec($handle);
    $failure = curl_error($handle);
} else {
    // Streams read no variables, so programs that use them hand the proxy on.
    $proxy = parse_url(getenv('https_proxy'));
    $token = base64_encode("{$proxy['user']}:{$proxy['pass']}");
    $context = stream_context_create(['http' => [
        'proxy' => "tcp://{$proxy['host']}:{$proxy['port']}",
        'header' => "Proxy-Authorization: Basic $token",
        'request_fulluri' => false,
    ]]);
    $body = file_get_contents($url, false, $context);
    $failure = 'no content';
}
if ($body === false) {
    fwrite(STDERR, "$failure\n");
    exit(1);
}
echo $body, "\n";
