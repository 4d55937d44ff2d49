# The control plane in the second region. terraform_data needs no provider, so that this works offline; what it does to the
# rehearsal's AWS is real (service.py).
terraform {
  required_version = ">= 1.4"
}

variable "python" { type = string }
variable "endpoint" { type = string }
variable "region" { type = string }

variable "desired_count" {
  type    = number
  default = 1
}

locals {
  here = terraform.workspace == "dr" ? 1 : 0 # the other workspace is the first region's, which this stack didn't make
}

resource "terraform_data" "service" {
  count = local.here
  input = {
    region          = var.region
    cluster         = "shielda"
    service         = "control-plane"
    task_definition = "control-plane:7"
    desired_count   = var.desired_count
  }

  provisioner "local-exec" {
    command = "\"${var.python}\" \"${path.module}/service.py\""
    environment = {
      AWS_ENDPOINT    = var.endpoint
      AWS_REGION      = self.input.region
      CLUSTER         = self.input.cluster
      SERVICE         = self.input.service
      TASK_DEFINITION = self.input.task_definition
      DESIRED_COUNT   = self.input.desired_count
      TOKEN           = self.id
    }
  }
}

resource "terraform_data" "log_retention" {
  count = local.here
  input = { group = "/ecs/shielda-control-plane", days = 90 }
}

output "service" {
  value = one(terraform_data.service[*].output)
}
