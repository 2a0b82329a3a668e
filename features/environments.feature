Feature: from one environment to the next

  As somebody who brings the same release to staging, and then to production
  I want to write down what is different there, beside the release, and name where I mean
  So that what was tried is what goes live, and no command goes to the wrong place.

  Background:
    Given an environment staging with one orchestrator
    And an environment production with one orchestrator
    And version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the manifest of the app shop also says:
      """
      environments:
        staging: {nats: BUS-OF-staging}
        production: {nats: BUS-OF-production}
      """

  @long
  Scenario: the same release goes from staging to production
    Given somebody starts the programs of the app shop in staging
    And somebody starts the programs of the app shop in production
    When I run "golive deploy --env staging shop"
    Then it ends with code 0
    And in staging search answers as version 1.0.0
    And in production search does not answer
    When I run "golive status --all" in the folder of the app shop
    Then it ends with code 0
    And the answer is:
      """
      shop
      ENVIRONMENT VERSION SINCE ROLLOUT
      production  -       -     nothing was rolled out there yet
      staging     1.0.0   <ago> -
      """
    When I run "golive plan --env production shop"
    Then it ends with code 3
    And the answer holds these lines:
      """
      1 │ search/offline run the offline script of 1.0.0 <duration> in staging, <ago> -
      To do exactly this: golive deploy shop --plan …
      """
    When I run "golive deploy shop --plan PLAN" with GOLIVE_ENV=production
    Then it ends with code 0
    And in production search answers as version 1.0.0
    And these scripts have run:
      | script               | times |
      | search 1.0.0 offline | 2     |
    When the environment production goes away
    And I run "golive status --all -o json" in the folder of the app shop
    Then it ends with code 1
    And the answer is JSON with the fields that everywhere.txt lists
    And the answer holds these lines:
      """
      "environment": "production",
      "code": "no_bus",
      "message": "connect to nats://127.0.0.1:<number>: …",
      "environment": "staging",
      "version": "1.0.0",
      """

  Scenario: what is different in an environment
    Given version 1.0.0 of the app shop, with these services:
      | service | version | scripts |
      | search  | 1.0.0   | offline |
    And the file golive.production.yaml of the app shop is:
      """
      nats: BUS-OF-production
      strategy: downtime
      retryAfter: 7s
      services: {search: {instances: 2, pace: {rate: 500}}}
      """
    And somebody starts the programs of the app shop in production
    When I run "golive plan --env production shop"
    Then it ends with code 1
    And the answer holds "plan …: shop 1.0.0, strategy downtime, 2 of 2 steps to do"
    And I am told this and more:
      """
      golive: error: … of 2 instances of search 1.0.0 are there, so search/traffic would wait
      golive: hint: start search 1.0.0
      """
    When I run "golive config --env production shop"
    Then it ends with code 0
    And the answer holds these lines:
      """
      shop 1.0.0 in production
      env        production  flag --env
      nats       nats://127.0.0.1:<number> shop/golive.production.yaml:1 (production)
      strategy                      downtime shop/golive.production.yaml:2 (production)
      retryAfter                    7s       shop/golive.production.yaml:3 (production)
      services.search.version       1.0.0    shop/golive.yaml:<number>
      services.search.instances     2        shop/golive.production.yaml:4 (production)
      services.search.pace.rate     500      shop/golive.production.yaml:4 (production)
      """
    When I run "golive config shop --env production -o json"
    Then it ends with code 0
    And the answer is JSON with the fields that config.txt lists

  Scenario: a flag wins over a variable, and that over the manifest
    When I run "golive config shop --env staging" with GOLIVE_NATS_URL=nats://ann:secret@elsewhere:4222
    Then it ends with code 0
    And the answer holds "nats nats://ann:xxxxx@elsewhere:4222 environment variable GOLIVE_NATS_URL"
    When I run "golive config shop --nats nats://there:4222" with GOLIVE_NATS_URL=nats://elsewhere:4222
    Then the answer holds "nats nats://there:4222 flag --nats"
    When I run "golive history --nats BUS-OF-staging" with GOLIVE_NATS_URL=nats://127.0.0.1:1
    Then it ends with code 0
    When I run "golive history --env production" in the folder of the app shop
    Then it ends with code 0
    And the answer is:
      """
      There has been no rollout here yet.
      """

  Scenario: a context of the nats command line
    Given the context prod of the nats command line leads to production
    And the manifest of the app shop is:
      """
      app: shop
      version: 1.0.0
      environments:
        live: {context: prod}
      """
    When I run "golive history --context prod"
    Then it ends with code 0
    When I run "golive history --env live" in the folder of the app shop
    Then it ends with code 0
    When I run "golive config --env live shop"
    Then the answer holds "context prod shop/golive.yaml:4 (live)"
    When I run "golive history --context pord"
    Then it ends with code 1
    And I am told:
      """
      golive: error: …pord…
      golive: hint: …
      """

  Scenario Outline: mistakes have a place: <text>
    Given the manifest of the app shop is:
      """
      app: shop
      version: 1.0.0
      services: {search: {version: 1.0.0}}
      environments:
        <text>
      """
    When I run "golive deploy --env staging shop"
    Then it ends with code 2
    And there is no answer
    And I am told this and more:
      """
      golive: error: shop/golive.yaml:5:<error>
      """

    Examples:
      | text                                       | error                                                                        |
      | staging: {natz: nats://staging:4222}       | <number>: environments.staging.natz: unknown key "natz": …                   |
      | staging: {nats: nats://a:secret@x:4222}    | <number>: environments.staging.nats: a URL in a manifest cannot hold a password |
      | staging: {services: {search: {version: 2.0.0}}} | <number>: environments.staging.services.search.version: …               |

  Scenario: an environment that there is not
    When I run "golive deploy --env prodution shop"
    Then it ends with code 2
    And I am told:
      """
      golive: error: …"prodution"…
      golive: hint: …production…
      """
