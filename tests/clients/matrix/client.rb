# Ruby's own client, as its users write it: `client.rb URL`.
require "net/http"

answer = Net::HTTP.get_response(URI(ARGV[0]))
abort answer.code unless answer.code == "200"
puts answer.body
