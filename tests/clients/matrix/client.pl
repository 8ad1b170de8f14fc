# LWP, as its users write it: `client.pl URL`.
use strict;
use warnings;
use LWP::UserAgent;

my $answer = LWP::UserAgent->new(env_proxy => 1)->get($ARGV[0]);
die $answer->status_line unless $answer->is_success;
print $answer->decoded_content, "\n";
