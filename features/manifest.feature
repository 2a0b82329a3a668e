Feature: mistakes in the manifest

  As somebody who writes a manifest
  I want to be told every mistake in it at once, with its line and what would be right
  So that I need not find them one by one, with half an app started each time.

  Scenario: several at once
    Given the manifest of the app shop is:
      """
      app: Shop
      version: v1.0.0
      strategy: paralel
      services:
        search:
          version: 1.0.0
          run: go run ./search
          migrations: [onlin]
          dependsOn: [stok]
        stock:
          versoin: 1.0.0
      """
    When I run "golive up shop"
    Then it ends with code 2
    And there is no answer
    And I am told:
      """
      golive: error: shop/golive.yaml:1:6: app: name "Shop" may hold only lower-case letters, digits and hyphens
      golive: error: shop/golive.yaml:2:10: version: version "v1.0.0" must not start with a v: write 1.0.0, not v1.0.0
      golive: error: shop/golive.yaml:3:11: strategy: unknown strategy "paralel": valid are parallel, downtime
      golive: error: shop/golive.yaml:7:10: services.search.run: expected a command, a list like [go, run, ./web], found the text "go run ./search"
      golive: error: shop/golive.yaml:8:18: services.search.migrations[0]: unknown phase "onlin": valid are before, offline, online
      golive: error: shop/golive.yaml:9:17: services.search.dependsOn[0]: unknown service "stok": valid are stock
      golive: error: shop/golive.yaml:10:3: services.stock.version: this key is required and missing
      golive: error: shop/golive.yaml:11:5: services.stock.versoin: unknown key "versoin": valid are version, run, setup, migrations, dependsOn, timeout, retries, backoff, instances, keepOnline, pace, state
      golive: hint: line 3: did you mean parallel?
      golive: hint: line 7: write [go, run, ./search]
      golive: hint: line 8: did you mean online?
      golive: hint: line 9: did you mean stock?
      golive: hint: line 10: add version: 0.0.1
      golive: hint: line 11: did you mean version?
      """

  Scenario Outline: <mistake>
    Given the manifest of the app shop is:
      """
      app: shop
      version: 1.0.0
      services:
        stock: {version: 1.0.0}
        search:
          version: 1.0.0
          <line>
      """
    When I run "golive up shop"
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: shop/golive.yaml:<at>: <error>
      """

    Examples:
      | mistake                    | line                        | at   | error                                                                                             |
      | a key that is there twice  | version: 1.0.1              | 7:5  | services.search.version: this key is there twice, first in line 6                                 |
      | scripts without phases     | setup: [go, run, ./setup]   | 7:5  | services.search.setup: this setup service has nothing to run: name the phases it has scripts for… |
      | the app's phase            | migrations: [setup]         | 7:18 | services.search.migrations[0]: unknown phase "setup": valid are before, offline, online           |
      | an empty command           | run: []                     | 7:10 | services.search.run: expected a command, a list like [go, run, ./web], found an empty list        |
      | a service of its own       | dependsOn: [search]         | 7:17 | services.search.dependsOn[0]: services wait for each other in a cycle: search -> search           |
      | a duration without a unit  | timeout: "10"               | 7:14 | services.search.timeout: expected a duration like 90s, 10m or 1h30m, found the text "10"          |
      | a negative number          | instances: -1               | 7:16 | services.search.instances: expected a whole number from 0 to 1000, found the number -1            |
      | what is no text            | run: [sleep, 5]             | 7:18 | services.search.run[1]: expected text, found the number 5                                         |
      | an anchor                  | run: &run [go, run, ./web]  | 7:10 | services.search.run: anchors (&) are not supported                                                |
      | what is not YAML           | run: [go, run               | 7:10 | this is not valid YAML: …                                                                                                |

  Scenario: golive deploy looks as closely
    Given the manifest of the app shop is:
      """
      app: shop
      """
    And an environment with one orchestrator
    When I run "golive deploy shop"
    Then it ends with code 2
    And I am told this and more:
      """
      golive: error: shop/golive.yaml:1:1: version: this key is required and missing
      golive: hint: line 1: add version: 0.0.1
      """

  Scenario: for programs
    Given the manifest of the app shop is:
      """
      app: shop
      """
    When I run "golive up shop -o json"
    Then it ends with code 2
    And the answer is JSON with the fields that error.txt lists
    And the answer holds:
      """
      "code": "manifest",
      "message": "shop/golive.yaml:1:1: version: this key is required and missing…
      """

  Scenario: there is no manifest
    When I run "golive up"
    Then it ends with code 2
    And I am told:
      """
      golive: error: there is no golive.yaml in the folder …/home: write one there, or give the folder that holds it
      """
